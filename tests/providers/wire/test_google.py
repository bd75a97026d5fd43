import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import errors
from providers.error_table import served_error
from providers.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    FilePart,
    ImagePart,
    OpaquePart,
    OpaqueTool,
    OutputFormat,
    Passthrough,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Sampling,
    Signature,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    WireFormat,
)
from providers.wire.codec import ReplyHead
from providers.wire.google import (
    FOREIGN_SIGNATURE,
    GoogleStreamDecoder,
    GoogleStreamEncoder,
    decode_error,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from tests.providers.wire.assembling import assembled, cut, decoded, decoded_bytes, deltas_of, on_slow_machines_too
from tests.wire import sample

GOOGLE = WireFormat.GOOGLE
USAGE = Usage(prompt_tokens=78, completion_tokens=30, cached_tokens=64, reasoning_tokens=12)
PNG_DATA = sample("google", "request")["contents"][0]["parts"][1]["inlineData"]["data"]
CALL = ToolCallPart("c1", "look", '{"q": "x"}')
RESULT = ChatMessage("tool", [ToolResultPart("c1", (TextPart("42"),))])
HEAD = ReplyHead(id="r", created_s=1, model_name="gemini", request=ChatRequest(messages=()))


def signed(value):
    return Signature(GOOGLE, value)


def make_request(*messages, **fields):
    return ChatRequest(messages=messages or (ChatMessage("user", "Hi"),), **fields)


def encoded(*messages, thinking=None, **fields):
    return encode_request(make_request(*messages, **fields), stream=False, thinking=thinking)


def contents_of(*messages, **options):
    return encoded(*messages, **options).body["contents"]


def finished_with(reason, *parts, **candidate):
    content = {"content": {"parts": list(parts)}} if parts else {}
    return {"candidates": [{"finishReason": reason, "index": 0, **content, **candidate}]}


def frames_of(name):
    return [frame["data"] for frame in sample("google", name)]


def test_a_request_becomes_the_documented_one():
    request = encoded(
        ChatMessage("system", "Be brief."),
        ChatMessage("developer", "Answer in English."),
        ChatMessage(
            "user",
            [
                TextPart("What is it?"),
                ImagePart(f"data:image/png;base64,{PNG_DATA}"),
                ImagePart("https://images.example/cat.png"),
            ],
        ),
        ChatMessage("assistant", "A cat."),
        ChatMessage("system", "Use one word."),
        ChatMessage("user", "Its colour?"),
        sampling=Sampling(
            temperature=1.4,
            top_p=0.9,
            top_k=40,
            max_tokens=500,
            stop=("END",),
            seed=7,
            presence_penalty=0.5,
            frequency_penalty=0.25,
        ),
    )

    assert (request.body, request.dropped_params) == (sample("google", "request"), ())


def test_tools_thoughts_and_schemas_are_carried():
    request = encoded(
        ChatMessage("user", "What is at x?"),
        ChatMessage(
            "assistant",
            [ReasoningPart("I look.", signed("Th0")), replace(CALL, signature=signed("Cr4C")), call("c2", "now")],
        ),
        RESULT,
        ChatMessage("tool", [ToolResultPart("c2", (TextPart("no clock"),), is_error=True)]),
        ChatMessage("user", "Go on."),
        tools=(
            Tool("look", "Looks something up.", {"type": "object", "properties": {"q": {"type": "string"}}}),
            Tool("now"),
        ),
        tool_choice=ToolChoice("tool", "look"),
        sampling=Sampling(n=2, logprobs=True, top_logprobs=1),
        output_format=OutputFormat("json_schema", {"type": "object"}, name="r"),
        reasoning=Reasoning("low"),
        thinking="level",
    )

    assert (request.body, request.dropped_params) == (sample("google", "request_tools"), ())


def call(id_, name, arguments="{}"):
    return ToolCallPart(id_, name, arguments)


def test_a_bare_request_has_no_configuration():
    assert encoded().body == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_a_single_answer_is_not_asked_for():
    assert "generationConfig" not in encoded(sampling=Sampling(n=1)).body


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("tool", "look"), {"mode": "ANY", "allowedFunctionNames": ["look"]}),
    ],
)
def test_each_tool_choice_has_its_mode(choice, config):
    body = encoded(tools=(Tool("look"),), tool_choice=choice).body

    assert body["toolConfig"] == {"functionCallingConfig": config}


@pytest.mark.parametrize(
    ("reasoning", "thinking", "config"),
    [
        (Reasoning("none"), "level", {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
        (Reasoning("max"), "level", {"thinkingLevel": "XHIGH", "includeThoughts": True}),
        (Reasoning(budget_tokens=2000), "level", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        (Reasoning(budget_tokens=99_999), "level", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (Reasoning("none"), "budget", {"thinkingBudget": 0, "includeThoughts": False}),
        (Reasoning("medium"), "budget", {"thinkingBudget": 8192, "includeThoughts": True}),
        (Reasoning("low", 2000), "budget", {"thinkingBudget": 2000, "includeThoughts": True}),
    ],
)
def test_effort_becomes_what_the_model_understands(reasoning, thinking, config):
    assert encoded(reasoning=reasoning, thinking=thinking).body["generationConfig"] == {"thinkingConfig": config}


def test_effort_is_dropped_and_named_where_the_model_does_not_think():
    request = encoded(reasoning=Reasoning("low"))

    assert ("generationConfig" in request.body, request.dropped_params) == (False, ("reasoning_effort",))


def test_an_image_whose_address_tells_no_type_is_sent_without():
    [content] = contents_of(ChatMessage("user", [ImagePart("https://images.example/cat?v=1")]))

    assert content["parts"] == [{"fileData": {"fileUri": "https://images.example/cat?v=1"}}]


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (ImagePart("data:image/jpg;base64,AA=="), {"inlineData": {"mimeType": "image/jpeg", "data": "AA=="}}),
        (FilePart("data:application/pdf;base64,AA=="), {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}}),
        (
            FilePart("https://h.example/a.pdf"),
            {"fileData": {"fileUri": "https://h.example/a.pdf", "mimeType": "application/pdf"}},
        ),
        (AudioPart("AA==", "wav"), {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}),
        (OpaquePart(GOOGLE, {"executableCode": {"code": "1"}}), {"executableCode": {"code": "1"}}),
    ],
)
def test_files_and_sound_are_carried(part, wire):
    [content] = contents_of(ChatMessage("user", [part]))

    assert content["parts"] == [wire]


@pytest.mark.parametrize(
    ("part", "error"),
    [
        pytest.param(ImagePart("file:///etc/passwd"), errors.RequestRejectedError, id="local-file"),
        pytest.param(FilePart(file_id="file-1"), errors.UnsupportedRequestError, id="file-at-openai"),
        pytest.param(OpaquePart(WireFormat.OPENAI_CHAT, {}), errors.UnsupportedRequestError, id="foreign"),
        pytest.param(call("c", "look", "{"), errors.UnsupportedRequestError, id="arguments-not-json"),
    ],
)
def test_what_cannot_be_said_is_refused(part, error):
    with pytest.raises(error) as caught:
        encoded(ChatMessage("user", [part]))

    assert (type(caught.value), caught.value.param) == (error, "messages")


def test_instructions_are_text_alone():
    with pytest.raises(errors.UnsupportedRequestError, match="role `system`") as caught:
        encoded(ChatMessage("user", "Hi"), ChatMessage("system", [ImagePart("https://h.example/a.png")]))

    assert caught.value.param == "messages"


def test_a_call_of_another_models_history_gets_the_sentinel_once():
    turn = ChatMessage("assistant", [TextPart("Well."), call("a", "look"), call("b", "look")])
    results = [ChatMessage("tool", [ToolResultPart(id_, (TextPart("1"),))]) for id_ in "ab"]

    parts = contents_of(turn, *results, thinking="level")[0]["parts"]

    assert [part.get("thoughtSignature") for part in parts] == [None, FOREIGN_SIGNATURE, None]
    assert "thoughtSignature" not in str(contents_of(turn, *results, thinking="budget"))


def test_a_foreign_signature_and_foreign_thoughts_stay_behind():
    foreign = Signature(WireFormat.ANTHROPIC_MESSAGES, "Eq")
    turn = ChatMessage("assistant", [ReasoningPart("hm", foreign), ReasoningPart("hm"), TextPart("So.", signed("Tx"))])

    assert contents_of(turn) == [{"role": "model", "parts": [{"text": "So.", "thoughtSignature": "Tx"}]}]


def test_results_stand_before_what_the_user_says_beside_them():
    turn = ChatMessage("assistant", [CALL, call("c2", "now")])
    other = ChatMessage("tool", [ToolResultPart("c2", (TextPart("noon"),))])

    contents = contents_of(turn, RESULT, ChatMessage("user", "And?"), other)

    assert [list(part) for content in contents[1:] for part in content["parts"]] == [
        ["functionResponse"],
        ["functionResponse"],
        ["text"],
    ]
    assert [content["role"] for content in contents] == ["model", "user", "user"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        pytest.param([ChatMessage("assistant", [CALL])], "result of the tool call `c1` is missing", id="at-the-end"),
        pytest.param(
            [ChatMessage("assistant", [CALL]), ChatMessage("user", "?")], "`c1` is missing", id="in-the-middle"
        ),
        pytest.param([RESULT], "holds no tool call `c1`", id="of-no-call"),
        pytest.param([ChatMessage("assistant", [CALL]), RESULT, RESULT], "holds no tool call `c1`", id="twice"),
    ],
)
def test_calls_and_results_must_match(messages, words):
    with pytest.raises(errors.RequestRejectedError, match=words) as caught:
        encoded(*messages)

    assert caught.value.param == "messages"


def test_an_image_in_a_tools_result_stands_beside_its_text():
    parts = (TextPart("A cat."), ImagePart("data:image/png;base64,AA=="))

    contents = contents_of(ChatMessage("assistant", [CALL]), ChatMessage("tool", [ToolResultPart("c1", parts)]))

    assert contents[1]["parts"][0]["functionResponse"] == {
        "id": "c1",
        "name": "look",
        "response": {"output": "A cat."},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}],
    }


def test_blank_turns_are_left_out():
    contents = contents_of(ChatMessage("user", "Hi"), ChatMessage("assistant"), ChatMessage("user", [TextPart(" ")]))

    assert contents == [{"role": "user", "parts": [{"text": "Hi"}]}]


def test_what_one_side_says_around_a_blank_turn_is_one_turn():
    contents = contents_of(ChatMessage("user", "Hi"), ChatMessage("assistant"), ChatMessage("user", "Are you there?"))

    assert contents == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "Are you there?"}]}]


def test_instructions_alone_are_refused():
    with pytest.raises(errors.RequestRejectedError, match="at least one message") as caught:
        encoded(ChatMessage("system", "Be brief."))

    assert caught.value.param == "messages"


def test_what_merely_tunes_is_dropped_and_named():
    request = encoded(
        ChatMessage("user", [ImagePart("https://h.example/a.png", "low")], extra=openai_extra(name="ada", weight=None)),
        user="u-1",
        parallel_tool_calls=False,
        tool_choice=ToolChoice("required"),
        tools=(),
        extra=openai_extra(verbosity="low", store=False, metadata=None),
    )

    assert request.dropped_params == (
        "messages.detail", "messages.name", "parallel_tool_calls", "store", "tool_choice", "user", "verbosity",
    )  # fmt: skip


def openai_extra(**fields):
    return Passthrough(WireFormat.OPENAI_CHAT, fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"extra": openai_extra(logit_bias={"1": 2})}, "logit_bias"),
        ({"extra": openai_extra(audio={"voice": "v"})}, "audio"),
        ({"extra": openai_extra(modalities=["text", "audio"])}, "modalities"),
        ({"tools": (OpaqueTool(WireFormat.OPENAI_RESPONSES, {"type": "web_search"}),)}, "tools"),
    ],
)
def test_what_would_change_the_answer_is_refused(fields, param):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        encoded(**fields)

    assert caught.value.param == param


def test_the_formats_own_fields_travel_along():
    extra = Passthrough(GOOGLE, {"safetySettings": [], "generationConfig": {"speechConfig": {}}})

    body = encoded(extra=extra, sampling=Sampling(top_k=3)).body

    assert body["safetySettings"] == []
    assert body["generationConfig"] == {"speechConfig": {}, "topK": 3}


def test_a_reply_becomes_an_answer_whose_thoughts_stand_apart():
    response = decode_reply(sample("google", "reply"))

    choice = response.choices[0]
    assert choice.parts == (ReasoningPart("A fur colour is asked for."), TextPart("Grey.", signed("Cr4C")))
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "STOP")
    assert (response.model_name, response.upstream_id) == ("gemini-3.8-flash", "resp1")
    assert response.usage == USAGE


def test_function_calls_in_a_reply_are_read_and_named_where_google_does_not():
    response = decode_reply(sample("google", "reply_function_call"))

    assert response.finish_reason == "tool_calls"
    assert response.choices[0].parts == (
        ToolCallPart("c1", "look", '{"q": "x"}', signed("Cr4C")),
        ToolCallPart("call_resp2_1", "now", "{}"),
    )


def test_an_image_in_a_reply_is_the_answer_and_keeps_its_signature():
    body = sample("google", "reply_image")

    [choice] = decode_reply(body).choices

    image = ImagePart("data:image/png;base64,iVBORw0KGgo=", extra=Passthrough(GOOGLE, {"thoughtSignature": "Im4g"}))
    assert (choice.parts, choice.finish_reason) == ((image,), "stop")
    assert contents_of(ChatMessage("assistant", choice.parts))[0]["parts"] == body["candidates"][0]["content"]["parts"]


@pytest.mark.parametrize(
    ("media_type", "part"),
    [
        ("audio/wav", AudioPart("AA==", "wav")),
        ("audio/mpeg", AudioPart("AA==", "mp3")),
        ("video/mp4", FilePart("data:video/mp4;base64,AA==")),
    ],
)
def test_other_media_of_a_reply_are_parts_of_the_answer(media_type, part):
    body = finished_with("STOP", {"inlineData": {"mimeType": media_type, "data": "AA=="}})

    assert decode_reply(body).choices[0].parts == (part,)


def test_an_answer_of_unknown_parts_alone_is_no_success():
    body = finished_with("STOP", {"hologram": {"data": "AA=="}})

    for read in (decode_reply, lambda frame: decoded(GoogleStreamDecoder(), [frame])):
        with pytest.raises(errors.MalformedReplyError, match="cannot translate"):
            read(body)


def test_a_draft_image_of_a_thought_is_not_the_answer():
    draft = {"thought": True, "inlineData": {"mimeType": "image/png", "data": "AA=="}}

    assert decode_reply(finished_with("STOP", draft, {"text": "Done."})).content == "Done."


def test_log_probabilities_come_in_openais_shape():
    result = {
        "chosenCandidates": [{"token": "é", "tokenId": 1, "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "e", "logProbability": -1.5}]}],
    }
    body = finished_with("STOP", {"text": "é"}, logprobsResult=result)

    told = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    other = {"token": "e", "logprob": -1.5, "bytes": [101]}
    expected = openai_extra(logprobs={"content": [told | {"top_logprobs": [other]}], "refusal": None})
    assert decode_reply(body).choices[0].extra == expected
    assert assembled(decoded(GoogleStreamDecoder(), [body])).choices[0].extra == expected


def test_a_blocked_prompt_is_an_error_although_the_status_is_200():
    body = sample("google", "reply_blocked_prompt")

    for read in (decode_reply, GoogleStreamDecoder().decode):
        with pytest.raises(errors.ContentBlockedError, match="PROHIBITED_CONTENT") as caught:
            read(body)
        assert served_error(caught.value).code == "content_filter"


def test_a_blocked_answer_is_an_answer_without_content():
    response = decode_reply(sample("google", "reply_blocked_answer"))

    assert (response.finish_reason, response.choices[0].parts) == ("content_filter", ())
    assert response.usage == Usage(prompt_tokens=9, completion_tokens=0)


def test_a_reply_without_candidates_is_malformed():
    with pytest.raises(errors.MalformedReplyError, match="candidates"):
        decode_reply({"responseId": "resp1"})


def test_what_is_not_needed_is_read_liberally():
    body = finished_with("STOP", {"text": "Hi"}, index="0") | {
        "responseId": 12345,
        "modelVersion": None,
        "usageMetadata": {"promptTokenCount": 3.5},
    }

    response = decode_reply(body)

    assert (response.content, response.upstream_id, response.usage) == ("Hi", None, None)
    assert assembled(decoded(GoogleStreamDecoder(), [body])) == response


@pytest.mark.parametrize(
    ("native", "canonical"),
    [
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("ESCALATION", "content_filter"),
        ("LANGUAGE", "stop"),
        ("A_REASON_OF_TOMORROW", "stop"),
    ],
)
def test_finish_reasons_are_translated(native, canonical):
    response = decode_reply(finished_with(native, {"text": "Some"}))

    assert (response.finish_reason, response.choices[0].native_finish_reason) == (canonical, native)


@pytest.mark.parametrize(
    ("native", "error", "code"),
    [
        ("MALFORMED_FUNCTION_CALL", errors.UpstreamError, "provider_error"),
        ("MALFORMED_RESPONSE", errors.UpstreamError, "provider_error"),
        ("UNEXPECTED_TOOL_CALL", errors.UpstreamError, "provider_error"),
        ("TOO_MANY_TOOL_CALLS", errors.UpstreamError, "provider_error"),
        ("MISSING_THOUGHT_SIGNATURE", errors.UpstreamError, "provider_error"),
        ("OTHER", errors.UpstreamError, "provider_error"),
        ("NO_IMAGE", errors.UpstreamError, "provider_error"),
        ("PUP_LIMITED_DISABLED", errors.CredentialRejectedError, "PUP_LIMITED_DISABLED"),
    ],
)
def test_a_failed_finish_is_an_error(native, error, code):
    for read in (decode_reply, lambda frame: decoded(GoogleStreamDecoder(), [frame])):
        with pytest.raises(error) as caught:
            read(finished_with(native))
        assert served_error(caught.value).code == code


def test_a_failed_finish_says_the_providers_word():
    with pytest.raises(errors.UpstreamError, match="MALFORMED_FUNCTION_CALL"):
        decode_reply(finished_with("MALFORMED_FUNCTION_CALL"))


@pytest.mark.parametrize("name", ["stream", "stream_function_call"])
def test_a_stream_becomes_the_answer(name):
    decoder = GoogleStreamDecoder()

    response = assembled(decoded(decoder, frames_of(name)))

    whole = decode_reply(sample("google", {"stream": "reply", "stream_function_call": "reply_function_call"}[name]))
    unsigned = [
        replace(part, signature=None) if isinstance(part, TextPart) else part for part in whole.choices[0].parts
    ]
    assert list(response.choices[0].parts) == unsigned
    assert response.usage == whole.usage
    assert (response.finish_reason, response.upstream_id) == (whole.finish_reason, whole.upstream_id)
    assert decoder.is_finished


def test_an_absent_count_resets_nothing():
    frames = [
        {"usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "promptTokensDetails": [{}]}},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "cachedContentTokenCount": None}},
        finished_with("STOP", {"text": "Hi"}),
    ]

    response = assembled(decoded(GoogleStreamDecoder(), frames))

    assert response.usage == Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4)


def test_a_usage_without_a_prompt_is_none():
    assert decode_reply(finished_with("STOP", {"text": "Hi"}) | {"usageMetadata": {"totalTokenCount": 9}}).usage is None


def test_a_plain_frame_is_one_delta():
    decoder = GoogleStreamDecoder()
    frame = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "index": 0}], "responseId": "r"}

    assert len(decoder.decode(frame)) > 1
    assert len(decoder.decode(frame)) == 1


def test_a_signature_that_comes_in_a_part_of_its_own_signs_the_text():
    frames = [
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "Tx"}]}, "finishReason": "STOP"}]},
    ]

    assert assembled(decoded(GoogleStreamDecoder(), frames)).choices[0].parts == (TextPart("Hi", signed("Tx")),)


def test_a_stream_without_finish_reason_is_not_finished():
    decoder = GoogleStreamDecoder()
    decoded(decoder, frames_of("stream")[:-1])

    assert not decoder.is_finished


def test_a_stream_ends_with_its_last_choice():
    decoder = GoogleStreamDecoder()
    decoder.decode({"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1}]})
    assert not decoder.is_finished

    decoder.decode({"candidates": [{"index": 1, "finishReason": "STOP"}]})
    assert decoder.is_finished


def test_a_stream_that_begins_ever_more_choices_is_broken():
    decoder = GoogleStreamDecoder()

    with pytest.raises(errors.AnswerTooLargeError):
        decoded(decoder, [{"candidates": [{"index": n}]} for n in range(200)])


def test_an_error_within_a_stream_is_classified():
    body = next(case["body"] for case in sample("google", "errors") if case["id"] == "overloaded")

    with pytest.raises(errors.OverloadedError, match="overloaded"):
        GoogleStreamDecoder().decode(body)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("google", "errors")])
def test_a_refusal_picks_the_error(case):
    error = decode_error(case["status"], case["body"])

    assert type(error).__name__ == case["error"]
    assert error.upstream_status == case["status"]
    for field in {"code", "retry_after_s"} & case.keys():
        assert getattr(error, field) == case[field]


def test_a_retry_delay_is_at_most_a_minute():
    assert decode_error(429, {"error": {"code": 429, "details": [{"retryDelay": "86400s"}]}}).retry_after_s == 60


def test_a_request_of_the_api_is_read():
    body = sample("google", "request_tools") | {"safetySettings": []}

    request = decode_request(body)

    assert [message.role for message in request.messages] == ["user", "assistant", "tool", "tool", "user"]
    assert request.extra == Passthrough(GOOGLE, {"safetySettings": []})
    assert encode_request(request, stream=False, thinking="level").body == body


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
signatures = st.none() | texts.map(signed)
objects = st.dictionaries(texts, st.integers(-9, 2**60) | texts | st.booleans(), max_size=3)
urls = st.sampled_from(["https://h.example/a.png", "data:image/png;base64,AA=="])
text_parts = st.builds(TextPart, texts, signatures)
files = (
    st.builds(ImagePart, urls)
    | st.just(FilePart("data:application/pdf;base64,AA=="))
    | st.builds(AudioPart, st.just("AA=="), st.sampled_from(["wav", "mp3"]))
)
thoughts = st.builds(ReasoningPart, texts, texts.map(signed))


@st.composite
def conversations(draw):
    messages = [ChatMessage("system", text) for text in draw(st.lists(texts, max_size=2))]
    messages.append(ChatMessage("user", draw(st.lists(text_parts | files, min_size=1, max_size=3))))
    for turn in range(draw(st.integers(0, 2))):
        calls = [
            ToolCallPart(f"c{turn}{number}", draw(names), json.dumps(draw(objects)), draw(signatures))
            for number in range(draw(st.integers(0, 2)))
        ]
        parts = draw(st.lists(text_parts | thoughts, min_size=1, max_size=2))
        messages.append(ChatMessage("assistant", [*parts, *calls]))
        for one in calls:
            result = draw(st.lists(texts.map(TextPart), min_size=1, max_size=1))
            messages.append(ChatMessage("tool", [ToolResultPart(one.id, tuple(result), draw(st.booleans()))]))
        messages.append(ChatMessage("user", draw(texts)))
    return tuple(messages)


samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_k=st.none() | st.integers(1, 9),
    max_tokens=st.none() | st.integers(1, 9),
    stop=st.none() | st.lists(texts, min_size=1, max_size=2).map(tuple),
    n=st.none() | st.integers(2, 3),
    logprobs=st.none() | st.booleans(),
)


@st.composite
def requests(draw):
    tools = tuple(draw(st.lists(st.builds(Tool, names, st.none() | texts, st.none() | objects), max_size=2)))
    choices = st.sampled_from([None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("tool", "look")])
    formats = [None, OutputFormat("json_object"), OutputFormat("json_schema", {"type": "object"})]
    return ChatRequest(
        messages=draw(conversations()),
        sampling=draw(samplings),
        tools=tools,
        tool_choice=draw(choices) if tools else None,
        output_format=draw(st.sampled_from(formats)),
        reasoning=draw(st.none() | st.sampled_from(["minimal", "low", "medium", "high", "xhigh"]).map(Reasoning)),
    )


@pytest.mark.slow
@given(requests())
@on_slow_machines_too
def test_a_request_survives_both_ways(request):
    assert decode_request(encode_request(request, stream=False, thinking="level").body) == request


@st.composite
def responses(draw):
    def choice(index):
        drawn = draw(st.lists(text_parts | files | thoughts, max_size=4))
        parts = [part for one, part in zip([None, *drawn], drawn, strict=False) if not joins(one, part)]
        calls = draw(st.lists(st.builds(call, texts, names, objects.map(json.dumps)), max_size=2))
        reason = draw(st.sampled_from(["length", "content_filter"])) if not parts else "stop"
        native = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}[reason]
        is_calling = calls and reason == "stop"
        return Choice(
            index=index,
            parts=(*parts, *calls),
            finish_reason="tool_calls" if is_calling else reason,
            native_finish_reason=native,
        )

    usages = st.builds(
        Usage,
        prompt_tokens=st.integers(0, 99),
        completion_tokens=st.integers(9, 99),
        cached_tokens=st.none() | st.integers(0, 9),
        reasoning_tokens=st.none() | st.integers(0, 9),
    )
    return ChatResponse(
        choices=tuple(choice(index) for index in range(draw(st.integers(1, 2)))),
        model_name="gemini",
        upstream_id="r",
        usage=draw(st.none() | usages),
    )


def joins(one, part):
    return type(one) is type(part) and isinstance(part, TextPart | ReasoningPart)


@pytest.mark.slow
@given(responses())
@on_slow_machines_too
def test_an_answer_survives_both_ways(response):
    assert decode_reply(encode_reply(response, HEAD)) == response


@given(responses(), st.lists(st.floats(0, 1), max_size=4))
@on_slow_machines_too
def test_streamed_and_whole_are_the_same_answer(response, places):
    encoder = GoogleStreamEncoder(HEAD)
    data = encoder.encode(deltas_of(response)) + encoder.end(response)

    assert assembled(decoded_bytes(GoogleStreamDecoder(), cut(data, places))) == response


def test_calls_without_ids_are_matched_by_name():
    body = {
        "contents": [
            {"role": "model", "parts": [{"functionCall": {"name": "now"}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "now", "response": {"time": 12}}}]},
        ]
    }

    call_message, result_message = decode_request(body).messages

    assert call_message.parts == (call("now", "now"),)
    assert result_message.parts == (ToolResultPart("now", (TextPart('{"time": 12}'),)),)


def test_a_text_that_is_none_breaks_the_answer():
    with pytest.raises(errors.MalformedReplyError, match="text"):
        decode_reply(finished_with("STOP", {"text": 1}))


def test_a_refusal_in_the_history_is_text():
    [content] = contents_of(ChatMessage("assistant", [RefusalPart("No.")]))

    assert content["parts"] == [{"text": "No."}]

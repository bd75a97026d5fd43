import json
from contextlib import suppress
from dataclasses import replace
from functools import cache

import orjson
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
    PartDelta,
    PartStarted,
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
    UsageTold,
    WireFormat,
)
from providers.wire.codec import ReplyHead
from providers.wire.frames import FrameDecoder
from providers.wire.ollama import (
    OllamaStreamDecoder,
    OllamaStreamEncoder,
    decode_error,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    without_refused,
)
from tests.providers.backends.mutations import mutated
from tests.providers.wire.assembling import assembled, cut, decoded, decoded_bytes, deltas_of, on_slow_machines_too
from tests.wire import sample

OLLAMA = WireFormat.OLLAMA
PNG_DATA = sample("ollama", "request")["messages"][2]["images"][0]
PNG = ImagePart(f"data:image/png;base64,{PNG_DATA}")
HELLO = ChatMessage("user", "Hi")
HEAD = ReplyHead(id="x", created_s=1, model_name="qwen3", request=ChatRequest(messages=(HELLO,)))
LOOK = ToolCallPart("call_1", "look", '{"q":"x"}')
USAGE = Usage(prompt_tokens=78, completion_tokens=30)


def own(**fields):
    return Passthrough(OLLAMA, fields)


def openai_extra(**fields):
    return Passthrough(WireFormat.OPENAI_CHAT, fields)


def result(call_id, *parts, **fields):
    return ChatMessage("tool", [ToolResultPart(call_id, parts or (TextPart("42"),), **fields)])


def encoded(*messages, stream=False, num_ctx=None, keep_alive=None, think=None, **fields):
    request = ChatRequest(messages=messages or (HELLO,), model_name="qwen3", **fields)
    return encode_request(request, stream=stream, num_ctx=num_ctx, keep_alive=keep_alive, think=think)


def frames_of(name):
    return [frame["data"] for frame in sample("ollama", name)]


def done(**fields):
    message = fields.pop("message", {"role": "assistant", "content": ""})
    return {"model": "qwen3", "message": message, "done": True, "done_reason": "stop", **fields}


def read_both(body):
    yield decode_reply(body)
    yield assembled(decoded(OllamaStreamDecoder(), [body]))


def test_a_request_becomes_the_documented_one():
    request = encoded(
        ChatMessage("system", "Be brief."),
        ChatMessage("developer", "Answer in English."),
        ChatMessage("user", [TextPart("What is it?"), PNG]),
        ChatMessage("assistant", "A cat."),
        ChatMessage("system", "Use one word."),
        ChatMessage("user", "Its colour?"),
        stream=True,
        num_ctx=8192,
        keep_alive="5m",
        think=False,
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

    assert (request.body, request.dropped_params) == (sample("ollama", "request"), ())


def test_tools_thoughts_and_schemas_are_carried():
    look = {"type": "object", "properties": {"q": {"type": "string"}}}
    request = encoded(
        ChatMessage("user", "What is at x?"),
        ChatMessage(
            "assistant", [ReasoningPart("I look."), TextPart("Let me look."), LOOK, ToolCallPart("call_2", "now", "")]
        ),
        result("call_1"),
        result("call_2", TextPart("noon")),
        tools=(Tool("look", "Looks something up.", look), Tool("now")),
        tool_choice=ToolChoice("auto"),
        output_format=OutputFormat("json_schema", {"type": "object"}, name="r"),
        reasoning=Reasoning("low"),
        sampling=Sampling(logprobs=True, top_logprobs=2),
        think=False,
        stream=True,
    )

    assert (request.body, request.dropped_params) == (sample("ollama", "request_tools"), ())


def test_a_bare_request_says_that_it_wants_no_stream_and_no_forgetting():
    assert encoded().body == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
    }


@pytest.mark.parametrize(
    ("reasoning", "think"),
    [
        (None, "high"),
        (Reasoning(), "high"),
        (Reasoning("none"), False),
        (Reasoning("minimal"), "low"),
        (Reasoning("xhigh"), "max"),
        (Reasoning(budget_tokens=0), False),
        (Reasoning(budget_tokens=5000), "medium"),
        (Reasoning(budget_tokens=-1), "high"),
    ],
)
def test_effort_says_how_much_to_think_before_the_default_does(reasoning, think):
    assert encoded(reasoning=reasoning, think="high").body["think"] == think


@pytest.mark.parametrize(
    ("form", "wire"),
    [(OutputFormat("json_object"), "json"), (OutputFormat("json_schema"), "json"), (OutputFormat("text"), None)],
)
def test_each_form_of_the_answer_has_its_format(form, wire):
    assert encoded(output_format=form).body.get("format") == wire


def test_no_tools_are_offered_where_none_is_to_be_called():
    request = encoded(tools=(Tool("look"),), tool_choice=ToolChoice("none"))

    assert ("tools" in request.body, request.dropped_params) == (False, ())


def test_what_merely_tunes_is_dropped_and_named():
    request = encoded(
        ChatMessage("user", "Hi", extra=openai_extra(name="ann")),
        ChatMessage("assistant", [LOOK]),
        result("call_1", is_error=True),
        user="u-1",
        parallel_tool_calls=False,
        tools=(Tool("look", strict=True),),
        extra=openai_extra(verbosity="low", store=False),
    )

    assert request.dropped_params == (
        "messages.is_error", "messages.name", "parallel_tool_calls", "store", "tools.strict", "user", "verbosity",
    )  # fmt: skip
    assert encoded(tool_choice=ToolChoice("auto")).dropped_params == ("tool_choice",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": (Tool("look"),), "tool_choice": ToolChoice("required")}, "tool_choice"),
        ({"tools": (Tool("look"),), "tool_choice": ToolChoice("tool", "look")}, "tool_choice"),
        ({"tools": (OpaqueTool(WireFormat.OPENAI_RESPONSES, {"type": "web_search"}),)}, "tools"),
        ({"sampling": Sampling(n=2)}, "n"),
        ({"extra": openai_extra(logit_bias={"1": 2})}, "logit_bias"),
    ],
)
def test_what_would_change_the_answer_is_refused(fields, param):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        encoded(**fields)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("role", "part", "error"),
    [
        pytest.param("user", ImagePart("https://h.example/a.png"), errors.UnsupportedRequestError, id="elsewhere"),
        pytest.param("user", ImagePart("file:///etc/passwd"), errors.RequestRejectedError, id="local-file"),
        pytest.param("assistant", PNG, errors.UnsupportedRequestError, id="images-of-the-assistant"),
        pytest.param("system", PNG, errors.UnsupportedRequestError, id="images-of-the-instructions"),
        pytest.param("user", FilePart("data:application/pdf;base64,AA=="), errors.UnsupportedRequestError, id="file"),
        pytest.param("user", AudioPart("AA==", "wav"), errors.UnsupportedRequestError, id="sound"),
        pytest.param("user", OpaquePart(WireFormat.OPENAI_CHAT, {}), errors.UnsupportedRequestError, id="foreign"),
        pytest.param("assistant", ToolCallPart("c", "look", "[]"), errors.UnsupportedRequestError, id="arguments"),
    ],
)
def test_content_that_cannot_be_said_is_refused(role, part, error):
    with pytest.raises(error) as caught:
        encoded(HELLO, ChatMessage(role, [part]))

    assert (type(caught.value), caught.value.param) == (error, "messages")


@pytest.mark.parametrize(
    "messages",
    [
        [ChatMessage("system", "Be brief.")],
        [ChatMessage("user", " ")],
        [ChatMessage("system", "x"), ChatMessage("user")],
    ],
)
def test_a_chat_in_which_nobody_says_anything_is_refused_before_the_call(messages):
    with pytest.raises(errors.RequestRejectedError, match="at least one message") as caught:
        encoded(*messages)

    assert caught.value.param == "messages"


def test_empty_turns_are_left_out():
    messages = encoded(HELLO, ChatMessage("assistant"), ChatMessage("assistant", " "), HELLO).body["messages"]

    assert [message["role"] for message in messages] == ["user", "user"]


def test_thoughts_of_other_models_stay_behind_and_instructions_stay_apart():
    signature = Signature(WireFormat.ANTHROPIC_MESSAGES, "Eq")
    instructions = ChatMessage("system", [TextPart("One."), TextPart("Two.")])
    turn = ChatMessage("assistant", [ReasoningPart("hm", signature), RefusalPart("No.")])

    messages = encoded(instructions, HELLO, turn).body["messages"]

    assert [message["content"] for message in messages] == ["One.\n\nTwo.", "Hi", "No."]
    assert "thinking" not in messages[2]


def test_the_result_of_a_call_that_is_not_in_sight_has_no_name():
    [message] = encoded(result("call_9", TextPart("A cat."), PNG)).body["messages"]

    assert message == {"role": "tool", "content": "A cat.", "images": [PNG_DATA], "tool_call_id": "call_9"}


def test_the_formats_own_fields_travel_along():
    request = encoded(extra=own(options={"min_p": 0.1}, keep_alive="1h"), sampling=Sampling(top_k=3), keep_alive="5m")

    assert (request.body["options"], request.body["keep_alive"]) == ({"min_p": 0.1, "top_k": 3}, "1h")


def test_a_model_that_cannot_think_is_asked_again_without():
    call = encoded(reasoning=Reasoning("low"), user="u")
    refusal = decode_error(400, {"error": '"gemma" does not support thinking'})

    again = without_refused(call, refusal)

    assert ("think" in again.body, again.dropped_params) == (False, ("reasoning_effort", "user"))
    assert without_refused(encoded(), refusal) is None
    assert without_refused(call, errors.RequestRejectedError("no")) is None


@pytest.mark.parametrize("name", ["request", "request_tools"])
def test_a_request_of_the_api_is_read(name):
    body = sample("ollama", name)

    assert encode_request(decode_request(body), stream=True).body == body


def test_results_are_matched_with_calls_that_have_no_ids():
    call = {"function": {"name": "look", "arguments": {}}}
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_name": "look"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_name": "look"},
    ]

    request = decode_request({"messages": messages, "think": True})

    one, told_one, two, told_two = [message.parts[0] for message in request.messages]
    assert (told_one.call_id, told_two.call_id) == (one.id, two.id)
    assert one.id != two.id
    assert (request.is_stream, request.extra) == (True, own(think=True))


def test_a_reply_becomes_an_answer():
    response = decode_reply(sample("ollama", "reply"))

    choice = response.choices[0]
    assert choice.parts == (ReasoningPart("A fur colour is asked for."), TextPart("Grey."))
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "stop")
    assert (response.model_name, response.usage) == ("qwen3", USAGE)


@pytest.mark.parametrize("missing", [("prompt_eval_count",), ("eval_count",), ("prompt_eval_count", "eval_count")])
def test_counts_that_are_left_out_are_not_0(missing):
    body = {key: value for key, value in sample("ollama", "reply").items() if key not in missing}

    assert [response.usage for response in read_both(body)] == [None, None]


def test_tool_calls_in_a_reply_are_read_and_named_where_ollama_does_not():
    response = decode_reply(sample("ollama", "reply_tool_calls"))

    assert response.finish_reason == "tool_calls"
    assert response.choices[0].parts == (
        ToolCallPart("call_ab12cd34", "look", '{"q":"x"}'),
        ToolCallPart("call_20261122100000_1", "now", "{}"),
    )


def test_arguments_that_are_text_stay_as_they_are():
    call = {"id": "c", "function": {"name": "look", "arguments": '{"q": 1}'}}

    for response in read_both(done(message={"content": "", "tool_calls": [call]})):
        assert response.choices[0].parts == (ToolCallPart("c", "look", '{"q": 1}'),)


def test_half_a_character_in_arguments_loses_no_more_than_itself():
    call = {"id": "c", "function": {"name": "look", "arguments": {"q": "A\ud83d", "r": "\ud83d\ude00"}}}

    for response in read_both(done(message={"content": "", "tool_calls": [call]})):
        assert json.loads(response.choices[0].parts[0].arguments) == {"q": "A\ufffd", "r": "\U0001f600"}


def test_images_in_a_reply_are_the_answer():
    for response in read_both(done(message={"content": "", "images": [PNG_DATA, "/9j/AA=="]})):
        assert response.choices[0].parts == (PNG, ImagePart("data:image/jpeg;base64,/9j/AA=="))


@pytest.mark.parametrize(
    ("native", "canonical"), [("length", "length"), ("load", "stop"), ("unload", "stop"), ("of-tomorrow", "stop")]
)
def test_done_reasons_are_translated(native, canonical):
    for response in read_both(sample("ollama", "reply") | {"done_reason": native}):
        assert response.finish_reason == canonical
        assert response.choices[0].native_finish_reason == native


@pytest.mark.parametrize("native", ["load", "unload"])
def test_a_model_that_was_only_loaded_gave_no_answer(native):
    for read in (decode_reply, OllamaStreamDecoder().decode):
        with pytest.raises(errors.UpstreamError, match=native) as caught:
            read(done(done_reason=native))
        assert served_error(caught.value).code == "provider_error"


@pytest.mark.parametrize("native", ["", None, "error"])
def test_an_answer_without_a_reason_was_aborted(native):
    for read in (decode_reply, OllamaStreamDecoder().decode):
        with pytest.raises(errors.UpstreamError, match="aborted"):
            read(sample("ollama", "reply") | {"done_reason": native})


def test_an_answer_that_is_not_done_is_malformed():
    with pytest.raises(errors.MalformedReplyError, match="done"):
        decode_reply(sample("ollama", "reply") | {"done": False})


def test_log_probabilities_come_in_openais_shape():
    tokens = [{"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "e", "logprob": -1.5}]}]

    told = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    other = {"token": "e", "logprob": -1.5, "bytes": [101]}
    for response in read_both(done(message={"content": "é"}, logprobs=tokens)):
        assert response.choices[0].extra == openai_extra(
            logprobs={"content": [told | {"top_logprobs": [other]}], "refusal": None}
        )


def test_what_is_not_needed_is_read_liberally():
    body = done(model=7, created_at=None, prompt_eval_count="9", logprobs=1, message={"role": 1, "content": "Hi"})

    for response in read_both(body):
        assert (response.content, response.model_name, response.usage) == ("Hi", "", None)


@pytest.mark.parametrize(("stream", "whole"), [("stream", "reply"), ("stream_tool_calls", "reply_tool_calls")])
def test_a_stream_becomes_the_answer(stream, whole):
    decoder = OllamaStreamDecoder()

    deltas = decoded(decoder, frames_of(stream))

    assert assembled(deltas) == decode_reply(sample("ollama", whole))
    assert [type(delta) for delta in deltas].count(UsageTold) == 1
    assert (decoder.framing, decoder.is_finished) == ("ndjson", True)


def test_a_plain_frame_is_one_delta():
    decoder = OllamaStreamDecoder()
    frame = {"model": "qwen3", "message": {"role": "assistant", "content": "Hi"}, "done": False}

    assert len(decoder.decode(frame)) == 3
    assert decoder.decode(frame) == (PartDelta(0, 0, "Hi"),)


def test_thoughts_between_texts_are_a_part_of_their_own():
    texts = [("content", "a"), ("thinking", "b"), ("content", "c"), ("content", "d")]
    frames = [{"message": {"role": "assistant", key: text}, "done": False} for key, text in texts]

    response = assembled(decoded(OllamaStreamDecoder(), [*frames, done()]))

    assert response.choices[0].parts == (TextPart("a"), ReasoningPart("b"), TextPart("cd"))


def test_a_character_that_comes_in_two_lines_is_joined():
    decoder = FrameDecoder(OllamaStreamDecoder())
    texts = ["A", "B\ud83d", "\ude00C"]
    frames = [{"message": {"role": "assistant", "content": text}, "done": False} for text in texts]

    deltas = [delta for frame in [*frames, done()] for delta in decoder.decode(json.dumps(frame).encode())]

    assert assembled(deltas).content == "AB\U0001f600C"


def test_a_stream_that_is_not_done_is_not_finished():
    decoder = OllamaStreamDecoder()
    decoded(decoder, frames_of("stream")[:-1])

    assert not decoder.is_finished


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param("model runner has unexpectedly stopped", errors.UpstreamError, id="crashed"),
        pytest.param("prompt is longer than the context length", errors.ContextTooLongError, id="too-long"),
    ],
)
def test_an_error_after_the_status_200_is_classified(message, error):
    for read in (decode_reply, OllamaStreamDecoder().decode):
        with pytest.raises(error, match=message):
            read({"error": message})


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("ollama", "errors")])
def test_a_refusal_picks_the_error(case):
    error = decode_error(case["status"], case["body"])

    assert (type(error).__name__, error.upstream_status) == (case["error"], case["status"])
    if isinstance(case["body"], dict):
        assert error.message == case["body"]["error"]


@cache
def broken(kind, names):
    return st.one_of([mutated(sample("ollama", f"{kind}{name}")) for name in names])


@given(broken("reply", ("", "_tool_calls")))
def test_a_broken_reply_raises_provider_errors_alone(body):
    with suppress(errors.ProviderError):
        decode_reply(body)


@given(broken("stream", ("", "_tool_calls")))
def test_a_broken_stream_raises_provider_errors_alone(frames):
    bodies = [frame.get("data") for frame in frames if isinstance(frame, dict)]

    with suppress(errors.ProviderError):
        decoded(OllamaStreamDecoder(), [body for body in bodies if isinstance(body, dict)])


def test_calls_that_come_interleaved_are_sent_whole_in_their_order():
    encoder = OllamaStreamEncoder(HEAD)
    deltas = [
        PartStarted(0, 0, ToolCallPart("a", "look", "")),
        PartStarted(0, 1, ToolCallPart("b", "look", "")),
        PartDelta(0, 1, '{"q":'),
        PartDelta(0, 0, "{}"),
        PartDelta(0, 1, "1}"),
    ]
    response = ChatResponse(choices=(Choice(finish_reason="tool_calls"),))

    data = encoder.encode(deltas) + encoder.end(response)

    parts = assembled(decoded_bytes(OllamaStreamDecoder(), [data])).choices[0].parts
    assert parts == (ToolCallPart("a", "look", "{}"), ToolCallPart("b", "look", '{"q":1}'))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
objects = st.dictionaries(texts, st.integers(-9, 2**60) | texts | st.booleans(), max_size=3)
calls = st.builds(ToolCallPart, names, names, objects.map(lambda given: orjson.dumps(given).decode()))
thoughts = st.builds(ReasoningPart, texts)


@st.composite
def conversations(draw):
    messages = [ChatMessage("system", text) for text in draw(st.lists(texts, max_size=2))]
    images = draw(st.lists(st.just(PNG), max_size=1))
    messages.append(ChatMessage("user", [TextPart(draw(texts)), *images]))
    for _ in range(draw(st.integers(0, 2))):
        asked = draw(st.lists(calls, max_size=2))
        parts = [*draw(st.lists(thoughts, max_size=1)), TextPart(draw(texts))]
        messages.append(ChatMessage("assistant", [*parts, *asked]))
        messages += [result(one.id, TextPart(draw(texts)), *images) for one in asked]
        messages.append(ChatMessage("user", draw(texts)))
    return tuple(messages)


samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_k=st.none() | st.integers(1, 9),
    max_tokens=st.none() | st.integers(1, 9),
    stop=st.none() | st.lists(texts, min_size=1, max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 9),
    logprobs=st.none() | st.booleans(),
)
forms = st.sampled_from([None, OutputFormat("json_object"), OutputFormat("json_schema", {"type": "object"})])
requests = st.builds(
    ChatRequest,
    messages=conversations(),
    model_name=st.just("qwen3"),
    sampling=samplings,
    tools=st.lists(st.builds(Tool, names, st.none() | texts, st.just({"type": "object"})), max_size=2).map(tuple),
    output_format=forms,
    reasoning=st.sampled_from([None, *map(Reasoning, ("none", "low", "medium", "high", "max"))]),
    is_stream=st.booleans(),
    extra=st.sampled_from([None, own(keep_alive="5m"), own(options={"min_p": 0.5})]),
)


@given(requests)
@on_slow_machines_too
def test_a_request_survives_both_ways(request):
    body = encode_request(request, stream=request.is_stream).body

    assert decode_request(json.loads(json.dumps(body))) == request


@st.composite
def responses(draw):
    parts = [
        *draw(st.lists(thoughts, max_size=1)),
        *draw(st.lists(st.builds(TextPart, texts), max_size=1)),
        *draw(st.lists(calls, max_size=2)),
    ]
    is_calling = any(isinstance(part, ToolCallPart) for part in parts)
    reason = draw(st.sampled_from(["length", "tool_calls" if is_calling else "stop"]))
    native = "length" if reason == "length" else "stop"
    usages = st.builds(Usage, prompt_tokens=st.integers(1, 99), completion_tokens=st.integers(1, 99))
    choice = Choice(parts=tuple(parts), finish_reason=reason, native_finish_reason=native)
    return ChatResponse(choices=(choice,), model_name="qwen3", usage=draw(st.none() | usages))


@given(responses())
@on_slow_machines_too
def test_an_answer_survives_both_ways(response):
    assert decode_reply(encode_reply(response, HEAD)) == response


@given(responses(), st.lists(st.floats(0, 1), max_size=4), st.integers(1, 4))
@on_slow_machines_too
def test_streamed_and_whole_are_the_same_answer(response, places, pieces):
    encoder = OllamaStreamEncoder(replace(HEAD, model_name="other"))
    data = encoder.encode(deltas_of(response, pieces=pieces)) + encoder.end(response)

    assert assembled(decoded_bytes(OllamaStreamDecoder(), cut(data, places))) == response

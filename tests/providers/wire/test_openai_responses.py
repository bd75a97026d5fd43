import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from providers import errors
from providers.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    ExtraDelta,
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
    WireFormat,
)
from providers.wire.codec import ReplyHead
from providers.wire.openai_responses import (
    ResponsesStreamDecoder,
    ResponsesStreamEncoder,
    decode_error,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from providers.wire.sse import SseParser
from providers.wire.validation import BadRequestError
from tests.providers.wire.assembling import assembled, cut, decoded, decoded_bytes, deltas_of, on_slow_machines_too
from tests.wire import sample

RESPONSES = WireFormat.OPENAI_RESPONSES
HELLO = ChatMessage("user", "Hi")
REQUEST = ChatRequest(messages=(HELLO,), model_name="gpt")
HEAD = ReplyHead(id="resp_a1", created_s=1790000000, model_name="gpt", request=REQUEST)
EVENT = TypeAdapter(ResponseStreamEvent)
LOOK = ToolCallPart("call_1", "look", '{"q": "x"}')


def own(**fields):
    return Passthrough(RESPONSES, fields)


def chats(**fields):
    return Passthrough(WireFormat.OPENAI_CHAT, fields)


def encoded(*messages, stateless=False, **fields):
    request = ChatRequest(messages=messages or (HELLO,), model_name="gpt", **fields)
    return encode_request(request, stream=False, stateless=stateless)


def answer(*parts, finish_reason="stop", **fields):
    native = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish_reason, "completed")
    choice = Choice(parts=parts, finish_reason=finish_reason, native_finish_reason=native)
    return ChatResponse(choices=(choice,), model_name="gpt", upstream_id="resp_a1", **fields)


def events_of(data):
    return [orjson.loads(frame) for frame in SseParser().feed(data)]


def streamed(response, head=HEAD):
    encoder = ResponsesStreamEncoder(head)
    return events_of(encoder.encode(deltas_of(response)) + encoder.end(response))


def types_of(events):
    return [event["type"] for event in events]


def test_a_request_is_read():
    request = decode_request(sample("openai_responses", "request"))

    assert [message.role for message in request.messages] == [
        "system", "developer", "user", "assistant", "tool", "tool", "assistant", "user",
    ]  # fmt: skip
    assert request.messages[0].text == "Be brief."
    assert request.messages[2].parts == (
        TextPart("What is it?"),
        ImagePart("data:image/png;base64,AA==", "low"),
        FilePart("data:application/pdf;base64,AA==", "a.pdf"),
        FilePart(file_id="file-1"),
        AudioPart("AA==", "wav"),
        OpaquePart(RESPONSES, {"type": "input_image", "file_id": "file-2"}),
    )
    assert request.messages[3].parts == (
        ReasoningPart("I look.", Signature(RESPONSES, "gAAA"), id="rs_1"),
        TextPart("Well.", extra=own(phase="commentary")),
        LOOK,
        ToolCallPart("call_2", "look", "{}"),
    )
    assert request.messages[4].parts == (ToolResultPart("call_1", (TextPart("42"),)),)
    assert request.messages[5].parts == (
        ToolResultPart("call_2", (TextPart("see"), ImagePart("https://h.example/a.png"))),
    )
    assert request.messages[6].parts[0] == OpaquePart(RESPONSES, {"id": "rs_9", "type": "item_reference"}, "input")
    assert request.messages[6].parts[1:] == (TextPart("A cat."), RefusalPart("No more."))


def test_the_parameters_of_a_request_are_read():
    request = decode_request(sample("openai_responses", "request"))

    assert request.sampling == Sampling(temperature=0.5, top_p=0.9, max_tokens=500, logprobs=True, top_logprobs=2)
    assert request.tools[0] == Tool(
        "look", "Looks something up.", {"type": "object", "properties": {"q": {"type": "string"}}}, strict=True
    )
    assert request.tools[1] == OpaqueTool(RESPONSES, {"type": "web_search", "search_context_size": "low"})
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice("tool", "look"), False)
    assert request.output_format == OutputFormat("json_schema", {"type": "object"}, "r", strict=True)
    assert (request.reasoning, request.user, request.is_stream) == (Reasoning("low"), "ada", True)
    assert request.extra == own(
        reasoning={"summary": "auto"},
        verbosity="low",
        include=["reasoning.encrypted_content"],
        store=False,
        metadata={"team": "search"},
        prompt_cache_key="k",
    )


def test_a_request_comes_out_as_it_came():
    body = sample("openai_responses", "request")

    request = encode_request(decode_request(body), stream=True)

    assert (request.body, request.dropped_params) == (body, ())


def test_a_text_alone_is_what_the_user_says():
    request = decode_request({"input": "Hi", "model": None, "tools": None, "text": None, "reasoning": None})

    assert request == ChatRequest(messages=(HELLO,))


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        pytest.param({}, "input", "missing_parameter", id="absent"),
        pytest.param({"input": None}, "input", None, id="null"),
        pytest.param({"input": []}, "input", None, id="none"),
        pytest.param({"input": ["Hi"]}, "input[0]", None, id="item-of-text"),
        pytest.param({"input": [{"role": "user"}]}, "input[0].content", None, id="no-content"),
        pytest.param({"input": [{"role": "admin", "content": "x"}]}, "input[0].role", None, id="unknown-role"),
        pytest.param({"input": [{"role": "user", "content": 1}]}, "input[0].content", None, id="content-number"),
        pytest.param({"input": [{"role": "user", "content": [{}]}]}, "input[0].content[0].type", None, id="no-type"),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]},
            "input[0].content[0].text",
            None,
            id="text-number",
        ),
        pytest.param(
            {"input": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": {}}]},
            "input[0].arguments",
            None,
            id="arguments-object",
        ),
        pytest.param({"input": "x", "temperature": "1"}, "temperature", None, id="temperature-text"),
        pytest.param({"input": "x", "temperature": True}, "temperature", None, id="temperature-boolean"),
        pytest.param({"input": "x", "max_output_tokens": 0}, "max_output_tokens", None, id="no-room"),
        pytest.param({"input": "x", "max_output_tokens": 1.0}, "max_output_tokens", None, id="room-not-whole"),
        pytest.param({"input": "x", "model": "m" * 513}, "model", None, id="long-name"),
        pytest.param({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name", None, id="nameless-tool"),
        pytest.param({"input": "x", "tool_choice": "maybe"}, "tool_choice", None, id="unknown-choice"),
        pytest.param({"input": "x", "text": {"format": {"type": "xml"}}}, "text.format.type", None, id="form"),
        pytest.param({"input": "x", "reasoning": {"effort": "huge"}}, "reasoning.effort", None, id="effort"),
        pytest.param({"input": "x", "stream": "yes"}, "stream", None, id="stream-text"),
    ],
)
def test_a_body_at_fault_is_refused_by_its_path(body, param, code):
    with pytest.raises(BadRequestError) as caught:
        decode_request(body)

    assert (caught.value.param, caught.value.code) == (param, code)
    assert f"`{param}`" in str(caught.value)


def test_what_openais_helpers_add_to_replayed_items_changes_nothing():
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}", "parsed_arguments": {}}
    text = {"type": "output_text", "text": "Well.", "parsed": {"a": 1}, "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}

    [turn] = decode_request({"input": [message, call | {"id": "fc_1", "parsed_arguments": {"q": 1}}]}).messages

    assert turn.parts == (TextPart("Well."), ToolCallPart("call_1", "look", "{}"))


def test_a_choice_only_this_format_knows_travels_along():
    choice = {"type": "allowed_tools", "mode": "auto", "tools": []}
    body = {"model": "gpt", "input": "Hi", "tools": [{"type": "web_search"}], "tool_choice": choice}

    request = decode_request(body)

    assert (request.tool_choice, request.extra) == (None, own(tool_choice=choice))
    assert encode_request(request, stream=False).body["tool_choice"] == choice


def test_what_chat_completions_call_the_same_is_passed_on():
    extra = chats(verbosity="low", store=True, service_tier="flex", prediction={"type": "content"})

    request = encoded(extra=extra)

    assert request.body["text"] == {"verbosity": "low"}
    assert (request.body["store"], request.body["service_tier"]) == (True, "flex")
    assert request.dropped_params == ("prediction",)


def test_a_stateless_request_asks_for_what_it_must_send_back():
    assert encoded(stateless=True).body == {
        "model": "gpt",
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert "include" not in encoded(stateless=True, extra=own(store=True)).body


def test_what_the_format_cannot_say_is_dropped_and_named():
    sampling = Sampling(top_k=3, stop=("END",), seed=1, presence_penalty=1, frequency_penalty=1, n=1)

    request = encoded(sampling=sampling, tool_choice=ToolChoice("auto"), parallel_tool_calls=True)

    assert request.body == {"model": "gpt", "input": [{"role": "user", "content": "Hi"}]}
    assert request.dropped_params == (
        "frequency_penalty", "parallel_tool_calls", "presence_penalty", "seed", "stop", "tool_choice", "top_k",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": Sampling(n=2)}, "n"),
        ({"extra": chats(logit_bias={"1": 2})}, "logit_bias"),
        ({"extra": chats(modalities=["audio"])}, "modalities"),
        ({"tools": (OpaqueTool(WireFormat.ANTHROPIC_MESSAGES, {}),)}, "tools"),
    ],
)
def test_what_would_change_the_answer_is_refused(fields, param):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        encoded(**fields)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("user", OpaquePart(WireFormat.ANTHROPIC_MESSAGES, {})),
        ("assistant", AudioPart("AA==", "wav")),
        ("assistant", ImagePart("https://h.example/a.png")),
    ],
)
def test_content_of_other_formats_is_refused(role, part):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        encoded(ChatMessage(role, [part]))

    assert caught.value.param == "messages"


def test_foreign_thoughts_stay_behind():
    signature = Signature(WireFormat.ANTHROPIC_MESSAGES, "Eq")
    turn = ChatMessage("assistant", [ReasoningPart("a"), ReasoningPart("b", signature), TextPart("c")])

    assert encoded(turn).body["input"] == [{"role": "assistant", "content": "c"}]


def test_a_budget_of_thoughts_becomes_an_effort():
    assert encoded(reasoning=Reasoning(budget_tokens=8000)).body["reasoning"] == {"effort": "medium"}


def test_a_reply_becomes_an_answer():
    body = sample("openai_responses", "reply")

    response = decode_reply(body)

    [choice] = response.choices
    citations = body["output"][2]["content"][0]["annotations"]
    assert choice.parts == (
        ReasoningPart("One.\n\nTwo.", Signature(RESPONSES, "gAAA"), id="rs_1"),
        OpaquePart(RESPONSES, body["output"][1], "output"),
        TextPart("Grey.", extra=own(annotations=citations, phase="final_answer")),
        LOOK,
        ToolCallPart("call_2", "now", "{}"),
    )
    assert (choice.finish_reason, choice.native_finish_reason) == ("tool_calls", "completed")
    assert [token["token"] for token in choice.extra.fields["logprobs"]["content"]] == ["Grey", "."]
    assert (response.model_name, response.upstream_id) == ("gpt-6-luna-2026-08-01", "resp_1")
    assert response.usage == Usage(
        prompt_tokens=90, completion_tokens=30, cached_tokens=64, cache_write_tokens=0, reasoning_tokens=12
    )
    assert response.extra == own(service_tier="flex")


def test_a_streamed_answer_is_the_whole_one():
    decoder = ResponsesStreamDecoder()

    response = assembled(decoded(decoder, [frame["data"] for frame in sample("openai_responses", "stream")]))

    assert response == decode_reply(sample("openai_responses", "reply"))
    assert decoder.is_finished


def test_a_stream_that_ends_early_is_not_finished():
    decoder = ResponsesStreamDecoder()
    decoded(decoder, [frame["data"] for frame in sample("openai_responses", "stream")][:-1])

    assert not decoder.is_finished


def test_what_only_the_last_event_tells_is_not_lost():
    frames = [{"type": "response.completed", "response": sample("openai_responses", "reply")}]

    assert assembled(decoded(ResponsesStreamDecoder(), frames)) == decode_reply(sample("openai_responses", "reply"))


def test_a_plain_delta_is_one_delta():
    decoder = ResponsesStreamDecoder()
    frame = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"}

    assert [type(delta) for delta in decoder.decode(frame)] == [PartStarted, PartDelta]
    assert decoder.decode(frame) == (PartDelta(0, 0, "Hi"),)


def cut_short(reason):
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


@pytest.mark.parametrize(
    ("fields", "reason", "native"),
    [
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
            "max_output_tokens",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
            "content_filter",
        ),
        ({"status": "incomplete", "incomplete_details": None}, "stop", "incomplete"),
        ({}, "stop", "completed"),
    ],
)
def test_finish_reasons_are_translated(fields, reason, native):
    [choice] = decode_reply({"output": [], **fields}).choices

    assert (choice.finish_reason, choice.native_finish_reason) == (reason, native)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow."}}, errors.RateLimitedError),
        ({"status": "failed", "error": {"code": "server_error", "message": "Oh."}}, errors.UpstreamError),
        ({"status": "failed", "error": None}, errors.UpstreamError),
        ({"status": "cancelled"}, errors.UpstreamError),
        ({"status": "queued", "output": []}, errors.MalformedReplyError),
        ({"id": "x"}, errors.MalformedReplyError),
    ],
)
def test_a_reply_that_is_no_answer_is_an_error(body, error):
    with pytest.raises(error):
        decode_reply(body)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow.", "param": None},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slow."}},
        {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "Slow."}}},
    ],
)
def test_an_error_within_a_stream_is_classified(frame):
    with pytest.raises(errors.RateLimitedError, match="Slow"):
        ResponsesStreamDecoder().decode(frame)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("openai", "errors")])
def test_a_refusal_picks_the_error(case):
    error = decode_error(case["status"], case["body"])

    assert type(error).__name__ == case["error"]


def test_what_is_not_needed_is_read_liberally():
    response = decode_reply({"id": 12345, "model": None, "output": [], "usage": {"input_tokens": "9"}})

    assert (response.upstream_id, response.model_name, response.usage) == (None, "", None)


def test_reasoning_counted_apart_is_found_from_the_total():
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 20}

    assert decode_reply({"output": [], "usage": usage}).usage == Usage(prompt_tokens=9, completion_tokens=11)


def test_an_image_is_that_of_the_image_tool_and_comes_back_as_such():
    image = ImagePart("data:image/webp;base64,AA==")

    [item] = encode_reply(answer(image), HEAD)["output"]

    assert (item["type"], item["result"], item["output_format"]) == ("image_generation_call", "AA==", "webp")
    assert decode_request({"input": [item]}).messages == (ChatMessage("assistant", [image]),)
    assert encoded(ChatMessage("assistant", [image])).body["input"][0]["result"] == "AA=="


def test_other_files_and_sound_of_an_answer_are_not_lost():
    response = answer(FilePart("data:video/mp4;base64,AA=="), AudioPart("AA==", "wav"))

    [message] = encode_reply(response, HEAD)["output"]

    assert [part["type"] for part in message["content"]] == ["output_file", "output_audio"]
    assert streamed(response)[-1]["response"]["output"] == [message]


def test_the_thoughts_of_other_providers_come_back_as_theirs():
    parts = [
        ReasoningPart("hm", Signature(WireFormat.ANTHROPIC_MESSAGES, "Eq:1"), id="rs_1"),
        ReasoningPart("", Signature(WireFormat.ANTHROPIC_MESSAGES, "Er"), is_redacted=True, id="rs_2"),
        replace(LOOK, signature=Signature(WireFormat.GOOGLE, "Cr")),
    ]

    items = encode_reply(answer(*parts), HEAD)["output"]

    assert decode_request({"input": items}).messages == (ChatMessage("assistant", parts),)


def test_an_answer_repeats_what_was_asked():
    request = decode_request(sample("openai_responses", "request"))

    body = encode_reply(answer(TextPart("Hi")), replace(HEAD, request=request))

    asked = sample("openai_responses", "request")
    same = (
        "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens", "temperature", "top_p",
        "top_logprobs", "text", "reasoning", "store", "metadata", "prompt_cache_key", "user",
    )  # fmt: skip
    assert {name: body[name] for name in same} == {name: asked[name] for name in same}
    Response.model_validate(body)


def test_an_answer_has_the_documented_shape():
    body = encode_reply(answer(TextPart("hi"), LOOK, usage=Usage(prompt_tokens=1, completion_tokens=1)), HEAD)

    assert body["output"] == [
        {
            "id": "msg_a1_0",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
        },
        {
            "id": "fc_a1_1",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "look",
            "arguments": '{"q": "x"}',
        },
    ]
    assert body["usage"] == {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    }
    assert (body["tool_choice"], body["parallel_tool_calls"], body["tools"]) == ("auto", True, [])
    assert (body["status"], body["error"], body["text"]) == ("completed", None, {"format": {"type": "text"}})


@pytest.mark.parametrize(
    ("reason", "details"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter"), (None, "max_output_tokens")],
)
def test_an_answer_cut_short_is_incomplete(reason, details):
    body = encode_reply(answer(TextPart("hi"), finish_reason=reason), HEAD)

    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": details})
    assert body["output"][0]["status"] == "incomplete"


def test_log_probabilities_of_a_chat_completion_are_shown():
    tokens = [{"token": "hi", "logprob": -1.0, "bytes": None, "top_logprobs": []}]
    choice = Choice(parts=(TextPart("hi"),), extra=chats(logprobs={"content": tokens}))

    body = encode_reply(ChatResponse(choices=(choice,)), HEAD)

    assert body["output"][0]["content"][0]["logprobs"] == tokens


def test_a_streamed_text_has_the_documented_events():
    events = streamed(answer(TextPart("Hello!"), usage=Usage(prompt_tokens=1, completion_tokens=1)))

    assert types_of(events) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(11))
    assert {event["response"]["id"] for event in events if "response" in event} == {"resp_a1"}
    assert {event["item_id"] for event in events if "item_id" in event} == {"msg_a1_0"}


def test_streamed_thoughts_and_calls_have_the_documented_events():
    events = streamed(answer(ReasoningPart("hm", Signature(RESPONSES, "gA"), id="rs_1"), LOOK))

    types = types_of(events)
    assert [name for place, name in enumerate(types) if types.index(name) == place] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.completed",
    ]
    thoughts = next(event["item"] for event in events if event["type"] == "response.output_item.done")
    assert (thoughts["id"], thoughts["encrypted_content"]) == ("rs_1", "gA")


def test_calls_whose_pieces_come_in_turns_arrive_whole_in_order_and_once():
    encoder = ResponsesStreamEncoder(HEAD)
    calls = [replace(LOOK, id=id_, arguments="") for id_ in ("call_1", "call_2")]
    deltas = [PartStarted(0, number, call) for number, call in enumerate(calls)]
    deltas += [PartDelta(0, number, text) for text in ('{"q":', "1}") for number in (0, 1)]
    deltas.append(ChoiceFinished(0, "tool_calls"))

    events = events_of(encoder.encode(deltas))

    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [(item["call_id"], item["arguments"]) for item in items] == [("call_1", '{"q":1}'), ("call_2", '{"q":1}')]
    assert assembled(decoded(ResponsesStreamDecoder(), events)).choices[0].parts == tuple(
        replace(call, arguments='{"q":1}') for call in calls
    )


def test_a_citation_is_an_event_of_its_text():
    citation = {"type": "url_citation", "url": "https://h.example", "title": "t", "start_index": 0, "end_index": 1}
    encoder = ResponsesStreamEncoder(HEAD)
    deltas = [
        PartStarted(0, 0, TextPart("a")),
        ExtraDelta(0, own(annotations=[citation]), 0),
        ChoiceFinished(0, "stop"),
    ]

    events = events_of(encoder.encode(deltas))

    [event] = [one for one in events if one["type"] == "response.output_text.annotation.added"]
    assert (event["annotation"], event["annotation_index"], event["content_index"]) == (citation, 0, 0)
    assert events[-1]["item"]["content"][0]["annotations"] == [citation]


def test_other_choices_and_foreign_parts_are_left_out():
    encoder = ResponsesStreamEncoder(HEAD)
    foreign = OpaquePart(WireFormat.GOOGLE, {"executableCode": {}})

    data = encoder.encode([PartStarted(1, 0, TextPart("x")), PartDelta(1, 0, "x"), PartStarted(0, 0, foreign)])

    assert types_of(events_of(data)) == ["response.created", "response.in_progress"]


def test_a_stream_that_breaks_says_so_in_both_ways_clients_know():
    encoder = ResponsesStreamEncoder(HEAD)
    encoder.encode([PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "Hel")])

    error, failed = events_of(encoder.fail("Broken.", code="provider_error"))

    assert (error["type"], error["code"], error["message"]) == ("error", "provider_error", "Broken.")
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "provider_error", "message": "Broken."}


def test_a_text_delta_is_one_line_whatever_it_holds():
    encoder = ResponsesStreamEncoder(HEAD)
    encoder.encode([PartStarted(0, 0, TextPart(""))])

    data = encoder.encode([PartDelta(0, 0, "a\u2028b\u0085")])

    assert data.decode().splitlines()[2:] == [""]
    assert events_of(data)[0]["delta"] == "a\u2028b\u0085"


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
objects = st.dictionaries(texts, st.integers(-9, 2**53) | texts, max_size=3)
text_parts = st.builds(TextPart, texts)
refusals = st.builds(RefusalPart, texts)
images = st.builds(ImagePart, st.sampled_from(["data:image/png;base64,AA==", "data:image/webp;base64,AA=="]))
thoughts = st.builds(
    ReasoningPart, texts, texts.map(lambda text: Signature(RESPONSES, text.replace(":", ""))).filter(lambda s: s.value),
    id=names,
)  # fmt: skip
calls = st.builds(ToolCallPart, names, names, objects.map(json.dumps))
opaque = st.just(OpaquePart(RESPONSES, sample("openai_responses", "reply")["output"][1], "output"))
user_parts = (
    text_parts
    | st.builds(ImagePart, st.sampled_from(["https://h.example/a.png"]), st.none() | st.just("low"))
    | st.just(FilePart("https://h.example/a.pdf", "a.pdf"))
    | st.builds(AudioPart, st.just("AA=="), st.just("mp3"))
)


@st.composite
def conversations(draw):
    messages = [ChatMessage("system", draw(texts))] if draw(st.booleans()) else []
    messages.append(ChatMessage("user", draw(st.lists(user_parts, min_size=1, max_size=3))))
    if draw(st.booleans()):
        parts = draw(st.lists(text_parts | refusals | thoughts | images, min_size=1, max_size=4))
        asked = draw(st.lists(calls, max_size=2))
        messages.append(ChatMessage("assistant", [*parts, *asked]))
        messages += [ChatMessage("tool", [ToolResultPart(one.id, (TextPart("42"),))]) for one in asked]
        messages.append(ChatMessage("user", draw(texts)))
    return tuple(messages)


@st.composite
def requests(draw):
    tools = tuple(draw(st.lists(st.builds(Tool, names, texts, objects, st.booleans()), max_size=2)))
    formats = [None, OutputFormat("text"), OutputFormat("json_schema", {"type": "object"}, "r", strict=True)]
    efforts = st.sampled_from(["none", "minimal", "low", "high", "max"])
    return ChatRequest(
        messages=draw(conversations()),
        model_name=draw(names),
        sampling=Sampling(
            temperature=draw(st.none() | st.floats(0, 2)),
            max_tokens=draw(st.none() | st.integers(1, 9)),
            logprobs=draw(st.sampled_from([None, True])),
        ),
        tools=tools,
        tool_choice=draw(st.sampled_from([None, ToolChoice("auto"), ToolChoice("tool", "look")])) if tools else None,
        parallel_tool_calls=draw(st.none() | st.booleans()) if tools else None,
        output_format=draw(st.sampled_from(formats)),
        reasoning=draw(st.none() | efforts.map(Reasoning)),
        user=draw(st.none() | texts),
        is_stream=draw(st.booleans()),
        extra=draw(st.sampled_from([None, own(store=False), own(verbosity="low", previous_response_id="resp_0")])),
    )


@pytest.mark.slow
@given(requests())
@on_slow_machines_too
def test_a_request_survives_both_ways(request):
    assert decode_request(encode_request(request, stream=request.is_stream).body) == request


def identity(part):
    return "opaque" if isinstance(part, OpaquePart) else getattr(part, "id", None) or object()


@st.composite
def answers(draw):
    kinds = text_parts | refusals | images | thoughts | calls | opaque
    parts = draw(st.lists(kinds, max_size=5, unique_by=identity))
    reason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    if reason == "stop" and any(isinstance(part, ToolCallPart) for part in parts):
        reason = "tool_calls"
    counts = st.integers(0, 9)
    usages = st.builds(
        Usage,
        prompt_tokens=counts,
        completion_tokens=counts,
        cached_tokens=counts,
        cache_write_tokens=counts,
        reasoning_tokens=counts,
    )
    return answer(*parts, finish_reason=reason, usage=draw(st.none() | usages))


@given(answers())
@on_slow_machines_too
def test_an_answer_survives_both_ways(response):
    body = encode_reply(response, HEAD)

    Response.model_validate(body)
    assert decode_reply(json.loads(json.dumps(body))) == response


@given(answers(), st.lists(st.floats(0, 1), max_size=4))
@on_slow_machines_too
def test_streamed_and_whole_are_the_same_answer(response, places):
    encoder = ResponsesStreamEncoder(HEAD)
    data = encoder.encode(deltas_of(response)) + encoder.end(response)

    assert assembled(decoded_bytes(ResponsesStreamDecoder(), cut(data, places))) == response


@given(answers())
@settings(on_slow_machines_too, max_examples=15)
def test_openais_own_client_puts_the_stream_together(response):
    events = streamed(response)
    state = ResponseStreamState(input_tools=[], text_format=omit)

    for event in events:
        state.handle_event(EVENT.validate_python(event))

    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(done, key=orjson.dumps) == sorted(events[-1]["response"]["output"], key=orjson.dumps)

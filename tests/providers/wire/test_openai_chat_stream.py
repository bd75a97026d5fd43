import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers import errors
from providers.types import (
    ChatResponse,
    Choice,
    ChoiceFinished,
    ExtraDelta,
    ImagePart,
    OpaquePart,
    PartDelta,
    PartSigned,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    Signature,
    TextPart,
    ToolCallPart,
    Usage,
    UsageTold,
)
from providers.wire.accumulator import Accumulator
from providers.wire.frames import FrameDecoder
from providers.wire.openai_chat import (
    ChatStreamDecoder,
    ChatStreamEncoder,
    decode_reply,
    encode_reply,
)
from providers.wire.sse import SseParser
from tests.providers.backends.mutations import mutated
from tests.providers.wire.assembling import cut, deltas_of
from tests.providers.wire.chat_answers import (
    ANTHROPIC,
    CHAT,
    CUSTOM_CALL,
    GOOGLE,
    HEAD,
    MALFORMED,
    SERVED_USAGE,
    USAGE,
    USAGE_OBJECT,
    calls_frame,
    frame,
    own,
    piece,
    responses,
    streamed,
    streamed_parts,
)
from tests.wire import sample


def test_a_stream_is_read_frame_by_frame():
    decoder = ChatStreamDecoder()

    deltas = [decoder.decode(one["data"]) for one in sample("openai", "stream")]

    logprobs = own(logprobs={"content": [{"token": "d", "logprob": -0.2}]})
    assert decoder.is_finished
    assert [list(map(repr_of, some)) for some in deltas] == [
        [("ReplyStarted", "gpt-6-luna", "chatcmpl-1", own(system_fingerprint="fp_1"))],
        [("PartStarted", 0, 0, TextPart("")), ("PartDelta", 0, 0, "Re")],
        [("ExtraDelta", 0, logprobs, None), ("PartDelta", 0, 0, "d.")],
        [("ChoiceFinished", 0, "stop", "stop")],
        [("UsageTold", USAGE)],
    ]


def repr_of(delta):
    return (type(delta).__name__, *(getattr(delta, name) for name in delta.__slots__))


def test_more_of_a_text_is_one_delta_whatever_null_stands_beside_it():
    decoder = ChatStreamDecoder()
    beside = {"system_fingerprint": "fp", "provider": "x", "usage": None, "obfuscation": "ab"}
    decoder.decode(frame({"role": "assistant", "content": "Re"}, **beside))
    more = frame({"role": "assistant", "content": "d.", "reasoning_content": None, "tool_calls": []}, **beside)
    more["choices"][0] |= {"stop_reason": None, "token_ids": None, "logprobs": None}

    [delta] = decoder.decode(more | {"obfuscation": "cd"})

    assert repr_of(delta) == ("PartDelta", 0, 0, "d.")


def test_thoughts_and_text_are_parts_of_their_own():
    assert streamed_parts(
        frame({"reasoning_content": "Hm", "content": ""}),
        frame({"reasoning": "."}),
        frame({"content": "Re"}),
        frame({"content": "d.", "refusal": None}),
        frame({"refusal": "No."}, "stop"),
    ) == (ReasoningPart("Hm."), TextPart("Red."), RefusalPart("No."))


def test_deltas_of_parallel_tool_calls_are_put_together():
    decoder, response = streamed(*[one["data"] for one in sample("openai", "stream_tool_calls")])

    assert decoder.is_finished
    assert response.choices[0].parts == (
        ToolCallPart("call_1", "look", '{"q":"x"}'),
        ToolCallPart("call_2", "find", "{}"),
    )


A, B = '{"q":1}', '{"q":2}'


@pytest.mark.parametrize(
    ("frames", "calls"),
    [
        pytest.param(
            [calls_frame(piece(0, "a1", "f", A)), calls_frame(piece(0, "a2", "f", B))],
            [("a1", "f", A), ("a2", "f", B)],
            id="another-id-under-a-used-index",
        ),
        pytest.param(
            [calls_frame(piece(0, "a1", "f", A), piece(0, "a2", "f", B))],
            [("a1", "f", A), ("a2", "f", B)],
            id="another-id-in-the-same-frame",
        ),
        pytest.param(
            [calls_frame(piece(0, None, "f", A)), calls_frame(piece(0, None, "g", B))],
            [("call_0", "f", A), ("call_1", "g", B)],
            id="another-name-without-ids",
        ),
        pytest.param(
            [calls_frame(piece(0, "a1", "f", '{"q"')), calls_frame(piece(0, "a1", "f", ":1}"))],
            [("a1", "f", A)],
            id="everything-repeated",
        ),
        pytest.param(
            [calls_frame(piece(0, "a1", "f", '{"q"')), calls_frame(piece(0, "", "", ":1}"))],
            [("a1", "f", A)],
            id="empty-id-and-name",
        ),
        pytest.param(
            [
                calls_frame(piece(0, "a1", "f", '{"q"')),
                calls_frame(piece(0, "a2", "f", '{"q"')),
                calls_frame(piece(0, "a1", None, ":1}")),
                calls_frame(piece(0, "a2", None, ":2}")),
            ],
            [("a1", "f", A), ("a2", "f", B)],
            id="ids-in-turns-under-one-index",
        ),
        pytest.param(
            [
                calls_frame(piece(None, "a", "f", {"q": 1})),
                calls_frame(piece(None, "b", "g")),
                calls_frame(piece(arguments=B)),
            ],
            [("a", "f", A), ("b", "g", B)],
            id="no-index",
        ),
        pytest.param(
            [calls_frame(piece(None, None, "f", {"q": 1}), piece(None, None, "f", {"q": 2}))],
            [("call_0", "f", A), ("call_1", "f", B)],
            id="neither-index-nor-id",
        ),
        pytest.param(
            [
                calls_frame(piece(0, "a")),
                calls_frame(piece(0, None, None, '{"q"')),
                calls_frame(piece(0, None, "f", ":1}")),
            ],
            [("a", "f", A)],
            id="the-name-last",
        ),
        pytest.param(
            [calls_frame(piece(0, "a", "f", A), piece(1, "a", "f", B))],
            [("a", "f", A), ("a", "f", B)],
            id="one-id-for-two-indexes",
        ),
        pytest.param(
            [frame({"content": "I look."}), calls_frame(piece(0, "a", "f", A)), calls_frame({})],
            [("a", "f", A)],
            id="an-empty-piece",
        ),
    ],
)
def test_each_call_comes_whole_and_once(frames, calls):
    choice = streamed(*frames, frame({}, "tool_calls"))[1].choices[0]

    assert [(part.id, part.name, part.arguments) for part in choice.parts if isinstance(part, ToolCallPart)] == calls


def test_a_call_whose_name_never_comes_is_malformed():
    with pytest.raises(errors.MalformedReplyError, match="name"):
        streamed(calls_frame(piece(0, "a", None, "{}")), frame({}, "tool_calls"))


def test_the_pieces_of_another_kind_of_call_are_put_together():
    begun = {"index": 0, "id": "call_3", "type": "custom", "custom": {"name": "run", "input": "l"}}

    frames = (calls_frame(begun), calls_frame({"index": 0, "custom": {"input": "s"}}), frame({}, "tool_calls"))

    assert streamed_parts(*frames) == (OpaquePart(CHAT, CUSTOM_CALL, "tool_calls"),)


def test_a_signature_comes_with_its_call_or_after_it():
    signed = {"extra_content": {"google": {"thought_signature": "Cr8="}}}
    with_call = streamed_parts(calls_frame(piece(0, "a", "f", "{}", **signed)), frame({}, "stop"))
    after_it = streamed_parts(calls_frame(piece(0, "a", "f", "{}")), calls_frame(signed), frame({}, "stop"))

    assert with_call == after_it == (ToolCallPart("a", "f", "{}", Signature(GOOGLE, "Cr8=")),)


def test_a_stream_of_two_choices_is_finished_with_the_second():
    begun = [frame({"content": "A"}), frame({"content": "B"}, index=1), frame({}, "stop")]

    assert not streamed(*begun)[0].is_finished
    assert streamed(*begun, frame({}, "length", index=1))[0].is_finished


def test_a_delta_that_comes_after_the_finish_reason_leaves_the_answer_finished():
    assert streamed(frame({"content": "Hi"}, "stop"), frame({"content": ""}))[0].is_finished


def test_done_is_an_end():
    decoder, response = streamed(frame({"content": "Hi"}), is_over=True)

    assert decoder.is_finished
    assert (response.choices[0].finish_reason, response.choices[0].native_finish_reason) == ("stop", None)


def test_done_after_calls_is_the_end_of_calls():
    _, response = streamed(calls_frame(piece(0, "a", "f", "{}")), is_over=True)

    assert response.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("frames", [[], [frame({"role": "assistant", "content": ""})], [{"choices": []}]])
def test_done_after_nothing_is_no_end(frames):
    assert not streamed(*frames, is_over=True)[0].is_finished


def test_done_adds_nothing_to_an_answer_that_is_finished():
    decoder, _ = streamed(frame({"content": "Hi"}, "stop"))

    assert decoder.end_mark() == ()


def test_a_server_that_does_not_stream_answers_in_one_frame():
    whole = {"choices": [{"message": {"role": "assistant", "content": "Red."}, "finish_reason": "stop"}]}

    assert streamed(whole)[1] == decode_reply(whole)


def test_a_stream_may_repeat_the_role_leave_out_the_index_and_end_without_done():
    decoder, response = streamed(*[one["data"] for one in sample("custom", "stream_llamacpp")])

    assert decoder.is_finished
    assert response.choices[0].parts == (ReasoningPart("Hm."), TextPart("Red."))
    assert response.usage == Usage(prompt_tokens=11, completion_tokens=3)
    assert response.extra.fields["timings"] == {"prompt_n": 11, "predicted_per_second": 40.5}


def test_frames_of_another_kind_are_no_part_of_the_answer():
    _, response = streamed(frame({"content": "Hi"}), {"type": "ping"}, frame({}, "stop"))

    assert response.extra is None


@settings(max_examples=100, deadline=None)
@given(mutated([one["data"] for one in sample("openai", "stream_tool_calls")]))
def test_a_broken_stream_is_read_or_an_error_that_is_expected(frames):
    decoder, encoder, accumulator = ChatStreamDecoder(), ChatStreamEncoder(HEAD), Accumulator()
    for one in frames:
        try:
            deltas = decoder.decode(one)
        except MALFORMED:
            return
        encoder.encode(accumulator.take(deltas))
        accumulator.check()


def frames_of(*batches, wants_usage=False, usage=None):
    """Everything that a stream sends, as bytes; each batch of deltas came together."""
    encoder = ChatStreamEncoder(HEAD, wants_usage=wants_usage)
    sent = b"".join(encoder.encode(batch) for batch in batches)
    sent += encoder.end(ChatResponse(choices=(), model_name="large-2026", usage=usage))
    return [one + b"\n\n" for one in sent.split(b"\n\n")[:-1]]


def events_of(*batches, **options):
    """The JSON of all frames but `[DONE]`."""
    *sent, done = frames_of(*batches, **options)
    assert done == b"data: [DONE]\n\n"
    return [json.loads(one.removeprefix(b"data: ")) for one in sent]


def deltas_in(*batches):
    return [event["choices"][0]["delta"] for event in events_of(*batches)]


STARTED = ReplyStarted("large-2026")
FIRST = {"role": "assistant", "content": ""}


def test_a_stream_is_framed_to_the_byte():
    sent = frames_of([STARTED, PartStarted(0, 0, TextPart(""))], [PartDelta(0, 0, "Hi")], [ChoiceFinished(0, "stop")])

    head = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"large-2026",'
        b'"choices":[{"index":0,"delta":'
    )
    assert sent == [
        head + b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
        head + b'{"content":"Hi"},"finish_reason":null}]}\n\n',
        head + b'{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]


def test_the_role_comes_once_for_each_choice():
    events = events_of(
        [PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "A"), PartStarted(1, 0, TextPart("")), PartDelta(1, 0, "B")],
        [PartDelta(1, 0, "b"), PartDelta(0, 0, "a")],
    )

    roles = [(c["index"], c["delta"].get("role")) for event in events for c in event["choices"]]
    assert roles == [(0, "assistant"), (0, None), (1, "assistant"), (1, None), (1, None), (0, None)]


@pytest.mark.parametrize(
    "first",
    [
        PartStarted(0, 0, TextPart("")),
        PartStarted(0, 0, ReasoningPart("")),
        PartStarted(0, 0, ToolCallPart("a", "f", "")),
        PartStarted(0, 0, OpaquePart(ANTHROPIC, {})),
        ChoiceFinished(0, "stop"),
    ],
)
def test_the_role_comes_first_whatever_comes_first(first):
    [delta] = deltas_in([first])

    assert (delta["role"], delta["content"]) == ("assistant", "")


def test_usage_comes_last_without_choices_and_is_null_before_when_it_is_asked_for():
    text = [PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "Hi"), UsageTold(SERVED_USAGE)]

    *chunks, last = events_of([STARTED], text, [ChoiceFinished(0, "stop")], wants_usage=True, usage=SERVED_USAGE)

    assert [event["usage"] for event in chunks] == [None] * 3
    assert last == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "large-2026",
        "choices": [],
        "usage": USAGE_OBJECT,
    }


def test_usage_is_not_mentioned_unless_it_is_asked_for():
    events = events_of([PartStarted(0, 0, TextPart("Hi")), UsageTold(SERVED_USAGE)], usage=SERVED_USAGE)

    assert len(events) == 1
    assert "usage" not in events[0]


def test_a_frame_without_a_model_has_the_one_that_was_asked():
    [event] = events_of([PartStarted(0, 0, TextPart("Hi"))])

    assert event["model"] == "asked"


def test_each_call_has_a_chunk_of_its_own_before_the_last_one():
    calls = [{"index": n, "id": f"call_{n}", "function": {"name": "look", "arguments": "{}"}} for n in range(2)]
    mistral_frame = frame({"tool_calls": calls}, "tool_calls")

    events = events_of(ChatStreamDecoder().decode(mistral_frame))

    told = [(event["choices"][0]["delta"].get("tool_calls"), event["choices"][0]["finish_reason"]) for event in events]
    assert told == [
        ([{"index": 0, "id": "call_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}], None),
        ([{"index": 1, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}], None),
        (None, "tool_calls"),
    ]
    assert events[-1]["choices"][0]["delta"] == {}


def test_calls_are_numbered_apart_from_other_parts():
    calls = deltas_in(
        [PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "I look.")],
        [PartStarted(0, 1, ToolCallPart("call_1", "look", ""))],
        [PartStarted(0, 2, OpaquePart(CHAT, CUSTOM_CALL, "tool_calls"))],
        [PartDelta(0, 1, "{}"), ExtraDelta(0, own(custom={"input": " -l"}), 2)],
        [PartSigned(0, 1, Signature(GOOGLE, "Cr8="))],
    )[2:]

    assert [delta["tool_calls"] for delta in calls] == [
        [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}],
        [{"index": 1, **CUSTOM_CALL}],
        [{"index": 0, "function": {"arguments": "{}"}}],
        [{"index": 1, "custom": {"input": " -l"}}],
        [{"index": 0, "function": {"arguments": ""}, "extra_content": {"google": {"thought_signature": "Cr8="}}}],
    ]


def test_logprobs_and_unknown_fields_stand_beside_their_text():
    logprobs = own(logprobs={"content": []}, audio={"id": "a"})

    _, event, last = events_of(
        [PartStarted(0, 0, TextPart("")), ExtraDelta(0, logprobs), PartDelta(0, 0, "Hi")], [ExtraDelta(0, own(x=1))]
    )

    assert event["choices"][0]["logprobs"] == {"content": []}
    assert event["choices"][0]["delta"] == {"content": "Hi", "audio": {"id": "a"}}
    assert last["choices"][0]["delta"] == {"x": 1}


def test_labels_of_the_answer_stand_in_each_chunk_and_all_else_once():
    extra = own(system_fingerprint="fp_1", prompt_filter_results=[1])

    events = events_of([ReplyStarted("m", "up-1", extra), PartStarted(0, 0, TextPart("A")), PartDelta(0, 0, "B")])

    assert [event["system_fingerprint"] for event in events] == ["fp_1"] * 2
    assert [event.get("prompt_filter_results") for event in events] == [[1], None]


def test_thoughts_are_signed_once_they_are_whole():
    deltas = deltas_in(
        [PartStarted(0, 0, ReasoningPart("")), PartDelta(0, 0, "Hm"), PartDelta(0, 0, ".")],
        [PartSigned(0, 0, Signature(ANTHROPIC, "Eq8="))],
        [PartStarted(0, 1, ReasoningPart("", Signature(ANTHROPIC, "Em=="), is_redacted=True))],
        [PartStarted(0, 2, ReasoningPart("")), PartSigned(0, 2, Signature(GOOGLE, "Cr8="))],
    )

    blocks = [
        {"index": 0, "type": "thinking", "thinking": "Hm.", "signature": "Eq8="},
        {"index": 1, "type": "redacted_thinking", "data": "Em=="},
    ]
    assert deltas == [
        FIRST,
        {"reasoning_content": "Hm"},
        {"reasoning_content": "."},
        *({"extra_content": {"anthropic": {"thinking_blocks": [block]}}} for block in blocks),
    ]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085", "\n", "\r"])
def test_a_line_end_within_the_content_ends_no_frame(end):
    _, sent, _ = frames_of([PartStarted(0, 0, TextPart("")), PartDelta(0, 0, f"a{end}b")])

    assert len(sent.decode().splitlines()) == 2
    assert json.loads(sent.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == f"a{end}b"


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(responses(), st.lists(st.floats(0, 1), max_size=5))
def test_an_answer_is_the_same_streamed_and_whole(response, places):
    encoder = ChatStreamEncoder(HEAD, wants_usage=True)
    stream = b"".join(encoder.encode([delta]) for delta in deltas_of(response)) + encoder.end(response)
    parser, accumulator = SseParser(), Accumulator()
    decoder = FrameDecoder(ChatStreamDecoder())

    for data in [one for some in cut(stream, places) for one in parser.feed(some)]:
        accumulator.take(decoder.end_mark() if data == b"[DONE]" else decoder.decode(data))

    accumulator.check()
    assert decoder.is_finished
    assert accumulator.response() == decode_reply(encode_reply(response, HEAD))


def test_openais_own_client_puts_the_stream_together():
    answer = (
        ReasoningPart("Hm.", Signature(ANTHROPIC, "Eq8=")),
        ReasoningPart("Ah.", Signature(ANTHROPIC, "Em==")),
        TextPart("I look."),
        ImagePart("u"),
        ImagePart("v"),
        ToolCallPart("call_1", "look", '{"q":"x"}', Signature(GOOGLE, "Cr8=")),
        ToolCallPart("call_2", "look", '{"q":"y"}'),
    )
    response = ChatResponse(choices=(Choice(parts=answer, finish_reason="tool_calls"),), model_name="m", usage=USAGE)
    encoder, state = ChatStreamEncoder(HEAD, wants_usage=True), ChatCompletionStreamState()

    stream = encoder.encode(list(deltas_of(response))) + encoder.end(response)
    for data in SseParser().feed(stream)[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(data))

    whole = state.get_final_completion().to_dict()
    assert whole["usage"]["total_tokens"] == 120
    assert decode_reply(whole).choices[0].parts == answer


def test_a_model_may_have_any_name():
    _, event = events_of([ReplyStarted("\0"), PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "\0")])

    assert event["choices"][0]["delta"] == {"content": "\0"}


@pytest.mark.slow
def test_very_many_calls_in_one_frame_take_no_longer_than_their_number():
    calls = [piece(0, f"call_{number}", "f", "{}") for number in range(20_000)]

    assert len(ChatStreamDecoder().decode(calls_frame(*calls))) == 20_000

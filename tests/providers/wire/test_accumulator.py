import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.bounds import MAX_CHOICES, MAX_TOOL_CALLS
from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    ExtraDelta,
    ImagePart,
    OpaquePart,
    PartDelta,
    PartSigned,
    PartStarted,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    Signature,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.accumulator import Accumulator, estimated_usage
from providers.wire.codec import ReplyHead
from providers.wire.openai_chat import encode_reply
from providers.wire.rendering import dump_json
from tests.providers.wire.assembling import deltas_of

CHAT, ANTHROPIC = WireFormat.OPENAI_CHAT, WireFormat.ANTHROPIC_MESSAGES
HEAD = ReplyHead(id="chatcmpl-1", created_s=1790000000, model_name="m", request=ChatRequest(messages=()))


def accumulated(*deltas, **options):
    accumulator = Accumulator(**options)
    accumulator.take(deltas)
    accumulator.check()
    return accumulator


def only_choice(*deltas):
    [choice] = accumulated(*deltas).response().choices
    return choice


def text(*pieces, choice=0, part=0):
    return [PartStarted(choice, part, TextPart("")), *(PartDelta(choice, part, piece) for piece in pieces)]


def extra(choice=0, part=None, **fields):
    return ExtraDelta(choice, Passthrough(CHAT, fields), part)


def test_each_kind_of_part_is_put_together_in_its_place():
    signature = Signature(ANTHROPIC, "Eq8=")

    choice = only_choice(
        PartStarted(0, 0, ReasoningPart("")),
        PartDelta(0, 0, "Let me "),
        PartDelta(0, 0, "see."),
        PartSigned(0, 0, signature),
        *text("Hel", "lo", part=1),
        PartStarted(0, 2, RefusalPart("N")),
        PartDelta(0, 2, "o."),
        PartStarted(0, 3, ImagePart("https://images.example/cat.png")),
        ChoiceFinished(0, "length", "max_tokens"),
    )

    assert choice == Choice(
        parts=(
            ReasoningPart("Let me see.", signature),
            TextPart("Hello"),
            RefusalPart("No."),
            ImagePart("https://images.example/cat.png"),
        ),
        finish_reason="length",
        native_finish_reason="max_tokens",
    )


def test_the_pieces_of_parallel_calls_find_their_own():
    choice = only_choice(
        PartStarted(0, 0, ToolCallPart("call_1", "look", "")),
        PartStarted(0, 1, ToolCallPart("call_2", "find", '{"q"')),
        PartDelta(0, 1, ":"),
        PartDelta(0, 0, '{"at":'),
        PartDelta(0, 0, '"x"}'),
        PartDelta(0, 1, '"y"}'),
    )

    assert choice.parts == (ToolCallPart("call_1", "look", '{"at":"x"}'), ToolCallPart("call_2", "find", '{"q":"y"}'))


def test_several_choices_are_kept_apart_and_in_order():
    response = accumulated(
        *text("B", choice=1), *text("A"), PartDelta(1, 0, "b"), ChoiceFinished(1, "length"), ChoiceFinished(0, "stop")
    ).response()

    assert [(c.index, c.text, c.finish_reason) for c in response.choices] == [(0, "A", "stop"), (1, "Bb", "length")]


def test_the_last_usage_is_the_one_that_counts():
    first, last = Usage(prompt_tokens=9, completion_tokens=1), Usage(prompt_tokens=9, completion_tokens=5)

    assert accumulated(UsageTold(first), *text("Hi"), UsageTold(last)).response().usage is last


def test_what_the_provider_says_of_itself_is_kept():
    accumulator = accumulated(
        ReplyStarted("large", None, Passthrough(CHAT, {"service_tier": "flex", "x": 1})),
        ReplyStarted("large-2026", "up-1"),
        ExtraDelta(None, Passthrough(CHAT, {"x": 2})),
    )
    accumulator.dropped_params = ("seed",)

    response = accumulator.response()
    assert (response.model_name, response.upstream_id, response.dropped_params) == ("large-2026", "up-1", ("seed",))
    assert response.extra == Passthrough(CHAT, {"service_tier": "flex", "x": 2})


def test_nothing_received_is_an_answer_without_choices():
    assert accumulated().response() == ChatResponse(choices=())


@pytest.mark.parametrize(
    ("deltas", "finished"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(text("Hi"), False, id="content"),
        pytest.param([UsageTold(Usage(prompt_tokens=1, completion_tokens=1))], False, id="usage"),
        pytest.param([*text("Hi"), ChoiceFinished(0, "stop")], True, id="finished"),
        pytest.param([ChoiceFinished(0, "stop"), ReplyStarted("m")], True, id="finished-and-more"),
        pytest.param([*text("A"), ChoiceFinished(1, "stop")], False, id="one-of-two"),
    ],
)
def test_an_answer_is_finished_when_every_choice_that_began_is(deltas, finished):
    assert accumulated(*deltas).is_finished == finished


def test_unknown_fields_are_put_together_as_clients_do():
    choice = only_choice(
        extra(audio={"id": "a", "transcript": "ha"}, notes=[1], score=1, none=None),
        extra(audio={"id": "a", "transcript": "ha"}, notes=[2], score=2, none=None),
        extra(details=[{"index": 0, "type": "text", "text": "one"}]),
        extra(details=[{"index": 0, "type": "text", "text": " two"}, {"index": 1, "type": "text", "text": "three"}]),
    )

    assert choice.extra == Passthrough(
        CHAT,
        {
            "audio": {"id": "a", "transcript": "haha"},
            "notes": [1, 2],
            "score": 2,
            "none": None,
            "details": [
                {"index": 0, "type": "text", "text": "one two"},
                {"index": 1, "type": "text", "text": "three"},
            ],
        },
    )


def test_what_is_said_of_a_part_is_added_to_it():
    begun = TextPart("", extra=Passthrough(CHAT, {"annotations": [1]}))
    call = OpaquePart(CHAT, {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "l"}}, "tool_calls")

    choice = only_choice(
        PartStarted(0, 0, begun),
        PartStarted(0, 1, call),
        extra(part=0, annotations=[2]),
        extra(part=1, custom={"input": "s"}),
    )

    assert choice.parts[0] == TextPart("", extra=Passthrough(CHAT, {"annotations": [1, 2]}))
    assert choice.parts[1].wire == {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    assert begun.extra.fields == {"annotations": [1]}


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param([PartDelta(0, 0, "x")], id="text-of-nothing"),
        pytest.param([*text("x"), PartDelta(0, 1, "x")], id="text-of-another-part"),
        pytest.param([PartStarted(0, 0, ImagePart("u")), PartDelta(0, 0, "x")], id="text-of-an-image"),
        pytest.param([PartSigned(0, 0, Signature(CHAT, "x"))], id="signature-of-nothing"),
        pytest.param([extra(part=0, x=1)], id="extra-of-nothing"),
        pytest.param([*text("x"), *text("y")], id="twice"),
    ],
)
def test_what_cannot_be_put_together_is_malformed(deltas):
    accumulator = Accumulator()

    assert len(accumulator.take(deltas)) < len(deltas)
    with pytest.raises(MalformedReplyError):
        accumulator.check()


@pytest.mark.parametrize(
    ("started", "piece"),
    [
        pytest.param(TextPart(""), "x" * 10, id="letters"),
        pytest.param(TextPart(""), "\x01\x02", id="controls"),
        pytest.param(TextPart(""), '"\\' * 3, id="quotes"),
        pytest.param(TextPart(""), "\u4e2d\U0001f600", id="letters of many bytes"),
        pytest.param(TextPart(""), "\u2028\x85", id="line ends"),
        pytest.param(ReasoningPart(""), "x" * 10, id="reasoning"),
        pytest.param(ToolCallPart("call", "look", ""), '{"a":1}', id="arguments"),
        pytest.param(None, {"audio": {"transcript": "\u0085xyz"}}, id="an unknown field"),
    ],
)
def test_no_more_is_taken_than_there_is_room_for_as_json(started, piece):
    begin = [PartStarted(0, 0, started or TextPart(""))]
    more = [extra(**piece) if isinstance(piece, dict) else PartDelta(0, 0, piece)] * 5_000
    accumulator = Accumulator(max_bytes=10_000)

    taken = accumulator.take([*begin, *more])

    with pytest.raises(AnswerTooLargeError):
        accumulator.check()
    [choice] = accumulator.response().choices
    assert 1 < len(taken) < 5_000
    assert choice == only_choice(*taken)
    assert len(dump_json(encode_reply(accumulator.response(), HEAD)["choices"])) <= 10_000
    assert accumulator.take(more) == ()


def test_texts_without_anything_to_escape_use_all_the_room():
    accumulator = Accumulator(max_bytes=100_000)

    taken = accumulator.take([*text(), *[PartDelta(0, 0, "x")] * 200_000])

    assert len(taken) > 99_000


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param([ChoiceFinished(n, "stop") for n in range(MAX_CHOICES + 1)], id="choices"),
        pytest.param([PartStarted(0, n, ToolCallPart("c", "f", "")) for n in range(MAX_TOOL_CALLS + 1)], id="calls"),
        pytest.param(
            [PartStarted(0, n, OpaquePart(CHAT, {"id": "c"}, "tool_calls")) for n in range(MAX_TOOL_CALLS + 1)],
            id="calls-of-another-kind",
        ),
        pytest.param(text("x" * 4_000_000), id="one huge text"),
        pytest.param([PartStarted(0, 0, ImagePart("x" * 4_000_000))], id="one huge image"),
        pytest.param([extra(**{str(n): 1}) for n in range(30_000)], id="ever more unknown fields"),
        pytest.param([PartStarted(0, n, TextPart("")) for n in range(20_000)], id="ever more parts"),
        pytest.param([ReplyStarted(f"{n}" * 100_000) for n in range(40)], id="ever other models"),
    ],
)
def test_what_is_too_much_is_not_taken(deltas):
    accumulator = Accumulator(max_bytes=2_000_000)

    taken = accumulator.take(deltas)

    assert len(taken) < len(deltas)
    with pytest.raises(AnswerTooLargeError):
        accumulator.check()


@pytest.mark.slow
def test_a_million_pieces_are_held_in_little_more_than_their_text():
    pieces = [PartDelta(0, 0, f"{n:02d}") for n in range(100)]
    accumulator = accumulated(*text())
    tracemalloc.start()

    for _ in range(2_000):
        accumulator.take(pieces)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held_bytes < 3 * 2_000 * 100 * 2
    assert accumulator.held_bytes > 2_000 * 100 * 2


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
signatures = st.none() | st.builds(Signature, st.sampled_from(WireFormat), words)
parts = st.one_of(
    st.builds(TextPart, words, signatures),
    st.builds(ReasoningPart, words, signatures),
    st.builds(RefusalPart, words),
    st.builds(ToolCallPart, words, words, words, signatures),
    st.builds(ImagePart, words),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(parts, max_size=5), st.sampled_from(["stop", "length"]))
def test_an_answer_taken_apart_is_put_together_the_same(answer, reason):
    response = ChatResponse(choices=(Choice(parts=tuple(answer), finish_reason=reason),), model_name="m")

    assert accumulated(*deltas_of(response)).response() == response


def asked(*messages):
    return ChatRequest(messages=messages)


def answered(*answer):
    return ChatResponse(choices=(Choice(parts=answer),), model_name="m")


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_usage_is_estimated_at_four_characters_a_token_rounded_up(characters, tokens):
    words = "x" * characters

    usage = estimated_usage(asked(ChatMessage("user", words)), answered(TextPart(words)))

    assert usage == Usage(prompt_tokens=tokens, completion_tokens=tokens, source="estimated")


def test_an_estimate_counts_every_turn_and_every_kind_of_output():
    content = (TextPart("abcd"), ImagePart("data:image/png;base64,AAAA"), TextPart("efgh"))
    result = ToolResultPart("call_1", (TextPart("abcd"),))
    request = asked(ChatMessage("system", "abcd"), ChatMessage("user", content), ChatMessage("tool", [result]))
    response = answered(TextPart("abcd"), ReasoningPart("efgh"), ToolCallPart("call_1", "look", '{"a":1}!'))

    usage = estimated_usage(request, response)

    assert (usage.prompt_tokens, usage.completion_tokens) == (4, 4)


def test_an_answer_of_tool_calls_alone_can_be_estimated():
    usage = estimated_usage(asked(ChatMessage("assistant")), answered(ToolCallPart("call_1", "look", "{}")))

    assert (usage.prompt_tokens, usage.completion_tokens) == (0, 1)

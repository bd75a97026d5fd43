import tracemalloc

import pytest

from chat.dialects.openai_chat import choice_object
from chat.gateway.accumulator import MAX_HELD_CHUNKS, Assembly, estimated_usage
from providers.bounds import MAX_CHOICES, MAX_TOOL_CALLS
from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.types import (
    ChatChunk,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    ImagePart,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.wire.encoding import dump


def assembled(*chunks):
    assembly = Assembly()
    assembly.take(chunks)
    assembly.check()
    assembly.release()
    return assembly


def chunk(**delta):
    return ChatChunk(choices=(ChoiceDelta(**delta),))


def call(index, **piece):
    return chunk(tool_calls=(ToolCallDelta(index, **piece),))


def only_choice(*chunks):
    [choice] = assembled(*chunks).response().choices
    return choice


def test_the_pieces_of_each_kind_of_text_are_joined():
    choice = only_choice(
        chunk(reasoning="Let me "),
        chunk(reasoning="see."),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk(refusal="No"),
        chunk(refusal="."),
        chunk(finish_reason="length", native_finish_reason="max_tokens"),
    )

    assert choice == Choice(
        content="Hello",
        reasoning="Let me see.",
        refusal="No.",
        finish_reason="length",
        native_finish_reason="max_tokens",
    )


def test_an_answer_of_no_text_is_empty_and_not_absent():
    choice = only_choice(chunk(content=""), chunk(finish_reason="stop"))

    assert (choice.content, choice.reasoning, choice.refusal) == ("", None, None)


def test_an_answer_of_tool_calls_alone_has_no_content():
    assert only_choice(call(0, id="call_1", name="look")).content is None


def test_the_pieces_of_parallel_tool_calls_find_their_own():
    choice = only_choice(
        call(0, id="call_1", name="look"),
        call(1, id="call_2", name="find"),
        call(1, arguments='{"q":'),
        call(0, arguments='{"at":'),
        call(0, arguments='"x"}'),
        call(1, arguments='"y"}'),
        chunk(finish_reason="tool_calls"),
    )

    assert choice.tool_calls == (
        ToolCall("call_1", "look", '{"at":"x"}'),
        ToolCall("call_2", "find", '{"q":"y"}'),
    )


def test_parallel_tool_calls_within_one_chunk_are_both_kept():
    both = chunk(
        tool_calls=(ToolCallDelta(0, "call_1", "look", "{}"), ToolCallDelta(1, "call_2", "find", "{}")),
        finish_reason="tool_calls",
    )

    assert [found.id for found in only_choice(both).tool_calls] == ["call_1", "call_2"]


def test_tool_calls_stand_in_the_order_of_their_index():
    choice = only_choice(call(1, id="call_2", name="find"), call(0, id="call_1", name="look"))

    assert [found.name for found in choice.tool_calls] == ["look", "find"]


def test_text_beside_tool_calls_is_kept():
    choice = only_choice(chunk(content="I look."), call(0, id="call_1", name="look"))

    assert choice.content == "I look."


def test_several_choices_are_kept_apart_and_in_order():
    response = assembled(
        chunk(index=1, content="B"),
        chunk(index=0, content="A"),
        chunk(index=1, content="b", finish_reason="length"),
        chunk(index=0, content="a", finish_reason="stop"),
    ).response()

    assert [(c.index, c.content, c.finish_reason) for c in response.choices] == [(0, "Aa", "stop"), (1, "Bb", "length")]


def test_the_last_usage_is_the_one_that_counts():
    first, last = Usage(prompt_tokens=9, completion_tokens=1), Usage(prompt_tokens=9, completion_tokens=5)

    response = assembled(ChatChunk(usage=first), chunk(content="Hi"), ChatChunk(usage=last), ChatChunk()).response()

    assert response.usage is last


def test_what_the_provider_says_of_itself_is_kept():
    response = assembled(
        ChatChunk(model_name="large-2026", upstream_id="up-1", dropped_params=("seed",)), chunk(content="Hi")
    ).response()

    assert (response.model_name, response.upstream_id, response.dropped_params) == ("large-2026", "up-1", ("seed",))


def test_nothing_received_is_an_answer_without_choices():
    assert assembled().response() == ChatResponse(choices=(), model_name="")


@pytest.mark.parametrize(
    ("chunks", "finished"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([chunk(content="Hi")], False, id="content"),
        pytest.param([ChatChunk(usage=Usage(prompt_tokens=1, completion_tokens=1))], False, id="usage"),
        pytest.param([chunk(content="Hi", finish_reason="stop")], True, id="finished"),
        pytest.param([chunk(finish_reason="stop"), ChatChunk()], True, id="finished-and-more"),
        pytest.param([chunk(index=0, content="A"), chunk(index=1, finish_reason="stop")], False, id="one-of-two"),
    ],
)
def test_an_answer_is_finished_when_every_choice_that_began_is(chunks, finished):
    assert assembled(*chunks).is_finished == finished


def asked(*messages):
    return ChatRequest(messages=messages)


def answered(**choice):
    return ChatResponse(choices=(Choice(**choice),), model_name="m")


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_usage_is_estimated_at_four_characters_a_token_rounded_up(characters, tokens):
    text = "x" * characters

    usage = estimated_usage(asked(ChatMessage(role="user", content=text)), answered(content=text))

    assert usage == Usage(prompt_tokens=tokens, completion_tokens=tokens, source="estimated")


def test_an_estimate_counts_every_turn_and_every_kind_of_output():
    parts = (TextPart("abcd"), ImagePart("data:image/png;base64,AAAA"), TextPart("efgh"))
    request = asked(ChatMessage(role="system", content="abcd"), ChatMessage(role="user", content=parts))
    response = answered(content="abcd", reasoning="efgh", tool_calls=(ToolCall("call_1", "look", '{"a":1}!'),))

    usage = estimated_usage(request, response)

    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 4)


def test_an_answer_of_tool_calls_alone_can_be_estimated():
    request = asked(ChatMessage(role="assistant", content=None))

    usage = estimated_usage(request, answered(content=None, tool_calls=(ToolCall("call_1", "look", "{}"),)))

    assert (usage.prompt_tokens, usage.completion_tokens) == (0, 1)


def bounded(max_bytes, *chunks):
    assembly = Assembly(max_bytes=max_bytes)
    return assembly, assembly.take(chunks)


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param({"content": "x" * 10}, id="letters"),
        pytest.param({"content": "\x01\x02"}, id="controls"),
        pytest.param({"content": '"\\' * 3}, id="quotes"),
        pytest.param({"content": "\u4e2d\U0001f600"}, id="letters of many bytes"),
        pytest.param({"content": "\u2028\x85"}, id="line ends"),
        pytest.param({"reasoning": "x" * 10, "refusal": "y"}, id="reasoning and refusal"),
        pytest.param({"tool_calls": (ToolCallDelta(0, id="call", arguments='{"a":1}'),)}, id="tool arguments"),
        pytest.param({"extra": {"audio": {"transcript": "\u0085xyz"}}}, id="an unknown field"),
    ],
)
def test_no_more_is_taken_than_there_is_room_for_as_json(piece):
    assembly, free = bounded(10_000, *[chunk(**piece)] * 5_000)

    with pytest.raises(AnswerTooLargeError):
        assembly.check()

    [choice] = assembly.response().choices
    assert 0 < len(free) < 5_000
    assert choice == assembled(*free).response().choices[0]
    assert len(dump(choice_object(choice))) <= 10_000


def test_many_pieces_of_a_choice_that_goes_on_use_all_the_room():
    pieces = [chunk(content="x" * 100) for _ in range(90)]

    assembly, taken = bounded(10_000, *pieces)

    assembly.check()
    assert len(taken) == 90


def test_texts_without_anything_to_escape_use_all_the_room():
    _, free = bounded(100_000, *[chunk(content="x")] * 200_000)

    assert len(free) > 99_000


@pytest.mark.parametrize(
    "new_chunks",
    [
        pytest.param(lambda: [chunk(index=n) for n in range(MAX_CHOICES + 1)], id="choices"),
        pytest.param(
            lambda: [ChatChunk(choices=tuple(ChoiceDelta(index=n) for n in range(MAX_CHOICES + 1)))], id="at once"
        ),
        pytest.param(lambda: [call(n) for n in range(MAX_TOOL_CALLS + 1)], id="calls"),
        pytest.param(lambda: [chunk(content="x" * 40_000_000)], id="one huge text"),
        pytest.param(
            lambda: [chunk(extra={str(n): 1}) for n in range(400_000)],
            id="ever more unknown fields",
            marks=pytest.mark.slow,
        ),
        pytest.param(lambda: [ChatChunk(model_name=f"{n}" * 100_000) for n in range(400)], id="ever other models"),
    ],
)
def test_what_is_too_much_is_not_handed_on(new_chunks):
    assembly, chunks = Assembly(), new_chunks()

    free = assembly.take(chunks)

    assert len(free) < len(chunks)
    with pytest.raises(AnswerTooLargeError):
        assembly.check()


def test_what_is_held_back_is_no_part_of_what_was_handed_on_until_it_is_released():
    assembly, free = bounded(10_000, chunk(content="Hel"), chunk(content="lo", finish_reason="stop"), ChatChunk())

    before = assembly.response()
    held = assembly.release()

    assert (before.content, before.finish_reason) == ("Hel", None)
    assert (assembly.response().content, assembly.response().finish_reason) == ("Hello", "stop")
    assert (len(free), len(held)) == (1, 2)


def test_an_answer_that_goes_on_after_its_end_is_broken_off():
    assembly, free = bounded(10**9, chunk(content="Hello"), *[chunk(finish_reason="stop")] * (MAX_HELD_CHUNKS + 1))

    with pytest.raises(MalformedReplyError):
        assembly.check()
    assert len(free) == 1


@pytest.mark.slow
def test_a_million_pieces_are_held_in_little_more_than_their_text():
    pieces = [chunk(content=f"{n:02d}") for n in range(100)]
    assembly = Assembly()
    tracemalloc.start()

    for _ in range(2_000):
        assembly.take(pieces)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held_bytes < 3 * 2_000 * 100 * 2


def test_unknown_fields_are_put_together_as_clients_do():
    extras = [
        {"audio": {"id": "a", "transcript": "ha"}, "notes": [1], "score": 1, "none": None},
        {"audio": {"id": "a", "transcript": "ha"}, "notes": [2], "score": 2, "none": None},
        {"details": [{"index": 0, "type": "text", "text": "one"}]},
        {"details": [{"index": 0, "type": "text", "text": " two"}, {"index": 1, "type": "text", "text": "three"}]},
    ]

    assert only_choice(*[chunk(extra=extra) for extra in extras]).extra == {
        "audio": {"id": "a", "transcript": "haha"},
        "notes": [1, 2],
        "score": 2,
        "none": None,
        "details": [
            {"index": 0, "type": "text", "text": "one two"},
            {"index": 1, "type": "text", "text": "three"},
        ],
    }

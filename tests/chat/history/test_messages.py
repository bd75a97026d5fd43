from __future__ import annotations

import pytest

from chat.history.admin.messages import MAX_SHOWN_CHARS, ShownPart, pretty_json, shown_messages

CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"order":4711}'}}
STORED = {"media_type": "image/png", "bytes": 12345, "sha256": "ab" * 32}
TOLD = f"image/png, 12,345 bytes, not stored; SHA-256 {'ab' * 32}"


def parts_of(**turn):
    return list(shown_messages([{"role": "user", **turn}])[0].parts)


@pytest.mark.parametrize(
    ("turn", "parts"),
    [
        pytest.param({"content": "hi"}, [ShownPart("text", "hi")], id="text"),
        pytest.param({"content": None}, [], id="nothing"),
        pytest.param({"content": ""}, [], id="empty"),
        pytest.param(
            {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            [ShownPart("text", "a"), ShownPart("text", "b")],
            id="pieces",
        ),
        pytest.param(
            {"content": [{"type": "image_url", "image_url": {"url": STORED}}]},
            [ShownPart("file", TOLD, "Image")],
            id="image",
        ),
        pytest.param(
            {"content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
            [ShownPart("file", "https://example.com/a.png", "Image")],
            id="image-by-address",
        ),
        pytest.param(
            {"content": [{"type": "input_audio", "input_audio": {"format": "wav", "data": STORED}}]},
            [ShownPart("file", TOLD, "Audio")],
            id="audio",
        ),
        pytest.param(
            {"content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": STORED}}]},
            [ShownPart("file", f"a.pdf: {TOLD}", "File")],
            id="file",
        ),
        pytest.param(
            {"content": [{"type": "odd", "n": 1}]},
            [ShownPart("code", '{\n  "type": "odd",\n  "n": 1\n}', "Unknown content")],
            id="another-kind",
        ),
        pytest.param({"content": 5}, [ShownPart("code", "5", "Unknown content")], id="number"),
        pytest.param(
            {"content": None, "tool_calls": [CALL]},
            [ShownPart("code", '{\n  "order": 4711\n}', "Calls look_up (call_1)")],
            id="tool-call",
        ),
        pytest.param({"tool_calls": [7]}, [ShownPart("code", "7", "Tool call")], id="odd-call"),
        pytest.param({"tool_calls": "odd"}, [], id="odd-calls"),
        pytest.param(
            {"content": "sunny", "tool_call_id": "call_1"},
            [ShownPart("text", "sunny", "Result of call call_1")],
            id="result",
        ),
        pytest.param(
            {"content": '{"a":1}', "tool_call_id": "call_1"},
            [ShownPart("code", '{\n  "a": 1\n}', "Result of call call_1")],
            id="result-in-json",
        ),
        pytest.param(
            {"content": "x", "refusal": "no", "reasoning_content": "hm"},
            [ShownPart("text", "hm", "Reasoning"), ShownPart("text", "x"), ShownPart("text", "no", "Refusal")],
            id="reasoning-and-refusal",
        ),
    ],
)
def test_a_turn_is_shown_in_parts(turn, parts):
    assert parts_of(**turn) == parts


@pytest.mark.parametrize(
    ("role", "shown", "name"),
    [
        ("system", "system", "System"),
        ("user", "user", "User"),
        ("assistant", "assistant", "Assistant"),
        ("tool", "tool", "Tool"),
        ("critic", "other", "critic"),
        (None, "other", "Unknown role"),
        (["odd"], "other", "['odd']"),
    ],
)
def test_roles_are_told_by_name(role, shown, name):
    (turn,) = shown_messages([{"role": role, "content": "hi"}])

    assert (turn.role, turn.name) == (shown, name)


def test_a_long_part_is_cut_and_tells_its_size():
    (part,) = parts_of(content="x" * (MAX_SHOWN_CHARS + 1))

    assert (len(part.visible_text), part.chars, part.is_cut) == (MAX_SHOWN_CHARS, MAX_SHOWN_CHARS + 1, True)


@pytest.mark.parametrize("text", ["", "plain", "5", '"text"', "{broken", "[" * 100_000, "[" + "1," * 600_000 + "1]"])
def test_what_cannot_be_laid_out_is_left_as_it_is(text):
    assert pretty_json(text) is None

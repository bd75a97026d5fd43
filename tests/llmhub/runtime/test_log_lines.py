import json

import pytest

from llmhub.runtime.log_lines import format_line, is_alarming

FIELDS = {"timestamp": "2026-11-22T10:20:30.456789Z", "level": "warning", "logger": "chat", "event": "Odd."}


def line(**fields):
    return json.dumps(FIELDS | fields)


def test_a_line_of_json_is_told_in_words():
    assert format_line(line(request_id="r-1", process="web", pid=7)) == (
        "2026-11-22 10:20:30Z WARNING chat: Odd. [request_id=r-1]"
    )


def test_an_exception_follows_its_line():
    trace = [{"type": "OSError", "message": "gone", "frames": ["chat/a.py:1 f"]}, {"type": "KeyError", "frames": []}]

    told = format_line(line(exception=trace)).splitlines()

    assert told[1:] == [
        "    OSError: gone",
        "      chat/a.py:1 f",
        "    KeyError",
    ]


def test_no_text_passes_for_a_line_of_its_own():
    text = format_line(line(event="odd\n2026-11-22 10:20:30Z ERROR chat: forged\r2026\x852026\u20282026"))

    assert all(part.startswith("    ") for part in text.splitlines()[1:])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("INFO:     Started", id="words"),
        pytest.param("{not json", id="not-json"),
        pytest.param('{"level": "error"}', id="not-a-line-of-the-hub"),
        pytest.param(line(timestamp=5), id="no-time"),
        pytest.param(line(level=None), id="no-level"),
    ],
)
def test_what_is_not_a_line_of_the_hub_stays_as_it_is(text):
    assert format_line(text) == text


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        pytest.param(line(), True, id="warning"),
        pytest.param(line(level="critical"), True, id="critical"),
        pytest.param(line(level="info", event="ERROR in its words"), False, id="info"),
        pytest.param("FATAL: no space left", True, id="words"),
        pytest.param("logfile -> [stderr]@%WARNING", False, id="the-name-of-a-level"),
    ],
)
def test_the_level_decides_what_is_passed_on(text, speaks):
    assert is_alarming(text) is speaks

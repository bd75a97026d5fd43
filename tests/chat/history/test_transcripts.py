import json

import pytest

from chat.history.transcripts import get_transcript
from chat.ledger.append import append_events
from chat.ledger.content import make_answer, make_content
from providers.bounds import MAX_JSON_VALUES
from providers.types import Attempt
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id

pytestmark = pytest.mark.django_db

USER = {"role": "user", "content": "hello"}


def transcript_of(request, answer=b"null", attempts=()):
    chat_id = new_chat_id()
    content = make_content(request if isinstance(request, bytes) else json.dumps(request).encode())
    intent, outcome = (
        make_intent(chat_id, content=content),
        make_outcome(chat_id, content=make_answer(answer, attempts)),
    )
    append_events([intent, outcome])
    return get_transcript(chat_id)


@pytest.mark.parametrize(
    ("request_body", "turns"),
    [
        ({"message": "hello"}, [USER]),
        (
            {"messages": [{"role": "system", "content": "be brief"}, USER]},
            [{"role": "system", "content": "be brief"}, USER],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}], "name": "ann"}]},
            [{"role": "user", "content": [{"type": "text", "text": "a"}], "name": "ann"}],
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": []}, "odd", None]},
            [
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": None, "content": "odd"},
                {"role": None, "content": None},
            ],
        ),
    ],
    ids=["message", "messages", "parts", "odd"],
)
def test_the_turns_of_a_request_are_shown_as_they_were_sent(request_body, turns):
    assert list(transcript_of(request_body).turns) == turns


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b'{"model":"m"}', id="no-messages"),
        pytest.param(b'{"messages":NaN}', id="nan"),
        pytest.param(b'{"message":' + b"[" * 500 + b"]" * 500 + b"}", id="deep"),
        pytest.param(b'{"message":"x","x":[' + b"{}," * MAX_JSON_VALUES + b"{}]}", id="of-too-many-values"),
    ],
)
def test_a_request_that_is_no_conversation_is_shown_as_text(body):
    assert list(transcript_of(body).turns) == [{"role": "request", "content": body.decode()}]


def test_an_empty_request_has_no_turns():
    assert transcript_of(b"").turns == ()


@pytest.mark.parametrize(
    ("answer", "turns"),
    [
        (b'{"choices":[{"message":{"role":"assistant","content":"hi"}}]}', [{"role": "assistant", "content": "hi"}]),
        (b'{"content":"hi","provider":"acme"}', [{"role": "assistant", "content": "hi"}]),
        (
            b'{"content":null,"tool_calls":[{"id":"1"}]}',
            [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
        ),
        (b'{"error":{"message":"no"}}', []),
        (b"null", []),
    ],
    ids=["openai", "hub", "tool-call", "error", "none"],
)
def test_the_answers_follow(answer, turns):
    assert list(transcript_of({"message": "hello"}, answer).turns) == [USER, *turns]


def test_what_providers_said_is_told_in_the_order_of_the_attempts():
    attempts = [
        Attempt(provider="a", model_name="m", ok=False, latency_ms=1, error="first"),
        Attempt(provider="b", model_name="m", ok=True, latency_ms=1),
        Attempt(provider="c", model_name="m", ok=False, latency_ms=1, error="second"),
    ]

    assert transcript_of({"message": "hello"}, attempts=attempts).attempt_errors == ("first", "second")


def test_a_chat_without_content_has_an_empty_transcript():
    assert get_transcript(new_chat_id()).turns == ()

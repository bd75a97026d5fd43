import json
from decimal import Decimal
from uuid import UUID

import pytest

from chat.ledger.content import make_content
from chat.ledger.events import Caller, Outcome, Read, RequestSummary, Search
from chat.ledger.models import ChatStatus
from providers.types import Attempt, SentBody, Usage
from tests.chat.ledger.samples import make_intent, make_lost, make_outcome, make_void

CHAT_ID = UUID("01a203ec-15df-7a49-af66-64064e63758b")


def said(entry):
    return json.loads(entry.event)


def test_an_intent_says_who_asks_for_what():
    content = make_content(b"{}")

    entry = make_intent(CHAT_ID, content=content, config_version="7")

    assert said(entry) == {
        "kind": "intent",
        "chat": str(CHAT_ID),
        "app": "demo",
        "key": "lh_demo",
        "actor": None,
        "user": "ann",
        "conversation": "c-1",
        "address": "10.0.0.7",
        "dialect": "openai",
        "asked": {
            "provider": None,
            "model": "acme/small",
            "stream": False,
            "params": {"temperature": "0.5"},
            "messages": 1,
            "tools": 0,
        },
        "config_version": "7",
        "content_commit": content.commitment,
        "content_bytes": 2,
    }


def test_a_void_is_an_intent_and_its_refusal():
    content = make_content(b"{}")

    void = said(make_void(CHAT_ID, content=content))

    refusal = {
        "kind": "void",
        "status": "rejected",
        "error": {"type": "not_found_error", "code": "model_not_found"},
        "http_status": 404,
    }
    assert void == said(make_intent(CHAT_ID, content=content)) | refusal


def test_an_outcome_says_what_was_served_and_at_what_cost():
    failed = Attempt(
        provider="acme",
        model_name="small",
        ok=False,
        latency_ms=9,
        error_type="UpstreamError",
        error="the prompt was hello",
        upstream_status=500,
        upstream_request_id="r-1",
        sent=(SentBody(7, "c0ffee"),),
    )
    usage = Usage(prompt_tokens=3, completion_tokens=5, cached_tokens=1, source="estimated")

    entry = make_outcome(CHAT_ID, attempts=(failed,), usage=usage, first_token_ms=4, native_finish_reason="STOP")

    assert said(entry) == {
        "kind": "outcome",
        "chat": str(CHAT_ID),
        "status": "succeeded",
        "served": {"provider": "acme", "model": "small"},
        "attempts": [
            {
                "provider": "acme",
                "model": "small",
                "ok": False,
                "error_type": "UpstreamError",
                "upstream_status": 500,
                "latency_ms": 9,
                "upstream_request_id": "r-1",
                "sent": [{"bytes": 7, "commit": "c0ffee"}],
            }
        ],
        "dropped_params": [],
        "tokens": {"prompt": 3, "completion": 5, "cached": 1, "reasoning": None, "source": "estimated"},
        "cost_nano_usd": 1200,
        "finish_reason": "stop",
        "native_finish_reason": "STOP",
        "error": None,
        "http_status": 200,
        "times": {"latency_ms": 20, "first_token_ms": 4, "overhead_us": 800},
        "content_commit": entry.content.commitment,
        "content_bytes": entry.content.size_bytes,
    }


def test_a_lost_chat_has_an_outcome_without_content():
    lost = said(make_lost(CHAT_ID))

    assert (lost["status"], lost["error"]) == ("lost", {"type": "lost", "code": None})
    assert (lost["tokens"], lost["content_commit"], lost["content_bytes"]) == (None, None, 0)


def test_reading_and_searching_are_said_with_who_and_from_where():
    read = Read(chat_id=CHAT_ID, actor="rita", source="admin", address="::1").entry()
    search = Search(actor="demo (lh_demo)", application="demo", source="api", filters={"app": "x"}).entry()

    by = {"kind": "read", "chat": str(CHAT_ID), "actor": "rita", "app": None, "source": "admin", "address": "::1"}
    assert said(read) == by | {"refused": False}
    assert said(search) == {
        "kind": "search",
        "actor": "demo (lh_demo)",
        "app": "demo",
        "source": "api",
        "address": None,
        "filters": {"app": "x"},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (Decimal("1.10"), "1.10"),
        (True, "True"),
        (None, "None"),
        ("low\x00", r"low\u0000"),
        ("x" * 65, "(65 characters)"),
        (["the prompt"], "(list)"),
        ({"content": "the prompt"}, "(dict)"),
        (10**100, str(10**100)[:64]),
    ],
)
def test_a_parameter_is_kept_as_short_text_and_never_as_content(value, text):
    asked = RequestSummary(dialect="openai", model_name="m", params={"p": value})

    assert said(make_intent(CHAT_ID, asked=asked))["asked"]["params"] == {"p": text}


def test_names_that_callers_choose_are_bounded_and_storable():
    caller = Caller(end_user="\ud800" + "é" * 5000, conversation="a\x00b")
    asked = RequestSummary(dialect="hub", model_name="m" * 5000, params={f"é{n}": n for n in range(100)})

    event = said(make_intent(CHAT_ID, caller=caller, asked=asked))

    assert event["user"] == r"\ud800" + "é" * 506
    assert event["conversation"] == r"a\u0000b"
    assert len(event["asked"]["model"]) == 512
    assert next(iter(event["asked"]["params"].items())) == (r"\xe90", "0")
    assert len(event["asked"]["params"]) == 64


def test_a_provider_that_counts_beyond_reason_does_not_stop_the_record():
    usage = Usage(prompt_tokens=2**80, completion_tokens=-(2**80))
    entry = Outcome(chat_id=CHAT_ID, status=ChatStatus.SUCCEEDED, usage=usage, cost_nano_usd=2**80).entry()

    assert said(entry)["tokens"]["prompt"] == said(entry)["cost_nano_usd"] == 2**53 - 1
    assert said(entry)["tokens"]["completion"] == -(2**53) + 1

"""What a provider can send, that may be anybody's: the caller gets what is recorded, others get their answers."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import count

import pytest

from chat.history.models import Chat
from chat.ledger.models import ChatContent, ChatStatus
from llmhub.access.principals import Scope
from providers.backends.reply_stream import FIRST_TURN_COST, FRAME_COST, FRAMES_TOGETHER
from providers.bounds import MAX_CHOICES, MAX_TOOL_CALLS
from providers.hubs import own_mark
from providers.manager import get_provider_manager, run
from providers.models import HealthCheck, ProviderConfig, ProviderModel
from providers.types import ChatMessage, ChatRequest
from providers.wire.accumulator import MAX_ANSWER_BYTES
from tests import fakes
from tests.live import closed_chat
from tests.providers.asking import in_thread

MIB = 1024 * 1024
HELLO = [{"role": "user", "content": "Hello"}]


def ask(hub, model="hostile/m", *, key=None, **fields):
    headers = hub.headers(key or hub.issue_key(), **fields.pop("headers", {}))
    body = {"model": model, "messages": HELLO, **fields}
    return hub.client.post("/v1/chat/completions", json=body, headers=headers, timeout=60)


def recorded(reply):
    """Return a chat and the answer that is kept of it."""
    chat = closed_chat(reply.headers["x-request-id"])
    return chat, json.loads(ChatContent.objects.get(chat_id=chat.pk, part="response").body)["answer"]


def completion(message, **fields):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], **fields}).encode()


def frame(index=0, finish_reason=None, **delta):
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def events(reply):
    return [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line.startswith("data: {")]


def handed_on(reply, field):
    """Return the text that a caller was streamed."""
    deltas = [choice["delta"] for event in events(reply) for choice in event.get("choices", ())]
    return "".join(delta.get(field) or "" for delta in deltas)


@pytest.fixture
def hostile(hub, upstream):
    hub.add_provider(upstream, name="hostile", timeout=30)
    return upstream


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_a_whole_answer_that_is_too_large_to_be_kept_is_an_error_for_caller_and_record(hub, hostile, declared):
    answer = completion({"content": "x" * (MAX_ANSWER_BYTES + 1)})
    parts = [answer[start : start + MIB] for start in range(0, len(answer), MIB)]
    hostile.fail(fakes.body(answer) if declared else fakes.pieces(*parts))

    reply = ask(hub)

    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "answer_too_large")
    chat, answer = recorded(reply)
    assert (chat.status, chat.error_code, chat.attempts[0]["error_type"]) == (
        ChatStatus.FAILED,
        "answer_too_large",
        "AnswerTooLargeError",
    )
    assert answer == reply.json()


def test_an_answer_whose_kept_form_grows_beyond_the_bound_is_an_error(hub, hostile):
    hostile.fail(fakes.body(completion({"content": "@"}).replace(b"@", "\u0085".encode() * (MAX_ANSWER_BYTES // 3))))

    reply = ask(hub)

    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "answer_too_large")
    assert recorded(reply)[1] == reply.json()


def test_an_answer_just_within_the_bound_is_handed_on_and_kept_whole(hub, hostile):
    text = "x" * (MAX_ANSWER_BYTES - MIB)
    hostile.fail(fakes.body(completion({"content": text})))

    reply = ask(hub)

    assert reply.json()["choices"][0]["message"]["content"] == text
    assert recorded(reply)[1] == reply.json()


PIECES = {
    "content": "x" * 100_000,
    "reasoning_content": "y" * 100_000,
    "refusal": "z" * 100_000,
}
ESCAPED = {
    "controls": "\x01" * 50_000,
    "line ends": "\u2028" * 50_000,
    "letters of three bytes": "\u4e2d" * 50_000,
}


@pytest.mark.parametrize(
    ("field", "text"),
    [pytest.param(field, text, id=field) for field, text in PIECES.items()]
    + [pytest.param("content", text, id=name) for name, text in ESCAPED.items()],
)
def test_of_an_endless_stream_is_recorded_exactly_what_was_handed_on(hub, hostile, field, text):
    hostile.fail(fakes.pieces(*[frame(**{field: text})] * 700))

    reply = ask(hub, stream=True)

    *_, last = events(reply)
    assert last["error"]["code"] == "answer_too_large"
    chat, answer = recorded(reply)
    assert (chat.status, chat.error_code, answer["error"]) == (ChatStatus.TRUNCATED, "answer_too_large", last["error"])
    assert answer["choices"][0]["message"][field] == handed_on(reply, field) != ""
    assert len(json.dumps(answer, ensure_ascii=False).encode()) <= MAX_ANSWER_BYTES
    assert hostile.hung_up.wait(5)


def test_tool_arguments_without_end_are_recorded_as_far_as_they_were_handed_on(hub, hostile):
    call = {"index": 0, "function": {"arguments": "a" * 100_000}}
    hostile.fail(
        fakes.pieces(
            frame(tool_calls=[{**call, "id": "call_1", "type": "function", "function": {"name": "f"}}]),
            *[frame(tool_calls=[call])] * 400,
        )
    )

    reply = ask(hub, stream=True)

    told = [delta["choices"][0]["delta"].get("tool_calls", ()) for delta in events(reply) if "choices" in delta]
    arguments = "".join(call["function"].get("arguments", "") for calls in told for call in calls)
    [kept] = recorded(reply)[1]["choices"][0]["message"]["tool_calls"]
    assert kept["function"]["arguments"] == arguments
    assert len(arguments) > MAX_ANSWER_BYTES // 2


def test_what_a_stream_says_in_fields_that_the_hub_does_not_know_is_recorded_too(hub, hostile):
    told = [frame(audio={"transcript": word}, notes=[word]) for word in ("One ", "two ", "two ")]
    hostile.fail(fakes.pieces(*told, frame(finish_reason="stop"), b"data: [DONE]\n\n"))

    reply = ask(hub, stream=True)

    message = recorded(reply)[1]["choices"][0]["message"]
    assert (message["audio"], message["notes"]) == ({"transcript": "One two two "}, ["One ", "two ", "two "])


@pytest.mark.parametrize(
    ("frames", "most"),
    [
        pytest.param((frame(n, content="x") for n in count()), MAX_CHOICES, id="choices"),
        pytest.param(
            (frame(tool_calls=[{"index": n, "function": {"name": "f", "arguments": "x"}}]) for n in count()),
            MAX_TOOL_CALLS,
            id="tool calls",
        ),
    ],
)
def test_a_stream_that_begins_ever_more_ends_in_an_error_at_the_bound(hub, hostile, frames, most):
    hostile.fail(fakes.pieces(*[next(frames) for _ in range(20_000)]))

    reply = ask(hub, stream=True)

    *told, last = events(reply)
    texts = [event for event in told if event["choices"][0]["delta"] != {"role": "assistant", "content": ""}]
    assert (last["error"]["code"], len(texts)) == ("answer_too_large", most)
    chat, answer = recorded(reply)
    assert chat.status == ChatStatus.TRUNCATED
    messages = [choice["message"] for choice in answer["choices"]]
    assert max(len(messages), *(len(message.get("tool_calls", ())) for message in messages)) == most


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param((frame(n) for n in count()), "answer_too_large", id="choices"),
        pytest.param(
            (frame(tool_calls=[{"index": n, "function": {"arguments": "x"}}]) for n in count()),
            "answer_too_large",
            id="tool calls",
        ),
        pytest.param(
            (frame(tool_calls=[{"index": 0, "function": {"arguments": "x" * 1000}}]) for _ in count()),
            "malformed_reply",
            id="arguments",
        ),
    ],
)
def test_a_stream_of_what_never_begins_is_not_held_for_ever(hub, hostile, frames, code):
    hostile.fail(fakes.pieces(*[next(frames) for _ in range(20_000)]))

    reply = ask(hub, stream=True)

    assert (reply.status_code, reply.json()["error"]["code"]) == (502, code)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_of_very_many_items_is_refused_unread(hub, hostile, stream):
    items = b"[" + b"{}," * (7 * MIB // 3) + b"{}]"
    body = b'{"choices":[],"more":%b}' % items
    hostile.fail(fakes.pieces(b"data: ", *[body[at : at + MIB] for at in range(0, len(body), MIB)], b"\n\n"))
    if not stream:
        hostile.faults.clear()
        hostile.fail(fakes.body(body))

    reply = ask(hub, stream=stream)

    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "answer_too_large")


def test_an_answer_that_goes_on_after_its_end_is_cut_off_from_what_was_handed_on(hub, hostile):
    hostile.fail(fakes.pieces(frame(content="Hello"), frame(finish_reason="stop"), *[frame(content="more")] * 20_000))

    reply = ask(hub, stream=True)

    chat, answer = recorded(reply)
    assert (chat.status, chat.error_code) == (ChatStatus.TRUNCATED, "malformed_reply")
    assert handed_on(reply, "content") == answer["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(content="x") * 5_000, id="small frames"),
        pytest.param(b"\n" * 2_000_000, id="empty lines"),
        pytest.param(b": ping\n\n" * 300_000, id="comments"),
        pytest.param(frame() * 5_000, id="frames that say nothing"),
    ],
)
async def test_a_stream_without_pause_leaves_turns_to_others(hub, upstream, flood):
    await in_thread(hub.add_provider, upstream, name="flood", default_model="m")
    upstream.fail(fakes.pieces(frame(content="x"), *[flood[at : at + MIB] for at in range(0, len(flood), MIB)]))
    manager, turns, longest = get_provider_manager(), [0], 0

    async def take_turns():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    request = ChatRequest(messages=(ChatMessage(role="user", content="Hello"),), model_name="flood/m")
    last_turn = since = total = 0
    try:
        async with await manager.open_stream(request) as stream:
            while deltas := await stream.next():
                since = since + len(deltas) if turns[0] == last_turn else len(deltas)
                total += len(deltas)
                last_turn, longest = turns[0], max(longest, since if total > 2 * FIRST_TURN_COST // FRAME_COST else 0)
    except Exception as error:
        assert "ended before" in str(error)  # noqa: PT017
    others.cancel()
    await manager.close_all()

    assert longest <= 2 * FRAMES_TOGETHER
    assert turns[0] > len(flood) // (128 * 1024)


def two_providers(hub, upstream, *, first_url):
    """Configure two, the first past all checks."""
    hub.add_provider(upstream, name="first", default_model="m", priority=1)
    hub.add_provider(upstream, name="second", default_model="m", priority=2)
    ProviderConfig.objects.make_default("first")
    ProviderConfig.objects.filter(name="first").update(base_url=first_url)
    hub.wait_for(lambda s: s.in_order[0].base_url == first_url)


def test_any_failure_at_one_provider_is_answered_by_the_next(hub, upstream, caplog):
    two_providers(hub, upstream, first_url="http://127.0.0.1:99999999/v1")
    caplog.set_level(logging.ERROR)

    replies = [ask(hub, "m"), ask(hub, "m", stream=True), ask(hub, "first/m")]

    assert [reply.status_code for reply in replies] == [200, 200, 500]
    assert replies[2].json()["error"]["code"] == "internal_error"
    tries = [[a["error_type"] for a in closed_chat(r.headers["x-request-id"]).attempts] for r in replies]
    assert tries == [["InternalError", None], ["InternalError", None], ["InternalError"]]
    faults = [record for record in caplog.records if record.name.startswith(("providers", "chat"))]
    assert [bool(record.exc_info) for record in faults] == [True] * 3


def test_a_provider_at_which_the_hub_fails_is_found_out_by_its_probe(hub):
    hub.add_provider(name="odd", base_url="http://127.0.0.1:9/v1")
    ProviderConfig.objects.filter(name="odd").update(base_url="http://127.0.0.1:99999999/v1")

    probe = run(get_provider_manager().health_check, "odd")
    run(get_provider_manager().probe_and_refresh, "odd")

    assert (probe.ok, probe.error) == (False, "The hub failed; see its log.")
    assert HealthCheck.objects.filter(provider__name="odd", ok=False).count() == 2


def test_a_host_that_cannot_be_read_is_not_saved_and_if_it_was_costs_no_chat(hub, upstream):
    key = hub.issue_key(scopes=(Scope.PROVIDERS_WRITE, Scope.CHAT))
    body = {"name": "odd", "provider_type": "custom", "base_url": "http://xn--/"}

    reply = hub.client.post("/api/providers/register", json=body, headers=hub.headers(key))

    assert (reply.status_code, "not a host name" in reply.text) == (400, True)

    two_providers(hub, upstream, first_url="http://xn--/")

    chat = closed_chat(ask(hub, "m").headers["x-request-id"])

    assert [attempt["error_type"] for attempt in chat.attempts] == ["ConfigurationError", None]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_chat_that_comes_back_to_the_hub_is_refused_at_its_first_return(hub, upstream, stream):
    key = hub.issue_key()
    hub.add_provider(upstream, name="fake", default_model="m")
    hub.add_provider(name="loop", base_url=f"{hub.url}/v1", api_key=key)
    before = Chat.objects.count()

    reply = ask(hub, "loop/" * 50 + "fake/m", key=key, stream=stream)

    assert reply.status_code == 502
    assert "has come through this hub before" in reply.json()["error"]["message"]
    assert upstream.chats == []
    returned, sent = Chat.objects.order_by("-started_at")[:2]
    assert (sent.status, returned.status, returned.error_code) == ("failed", "rejected", "loop_detected")
    assert Chat.objects.count() == before + 2


def test_a_hub_does_not_list_its_own_models_as_a_providers(hub, upstream):
    hub.add_provider(upstream, name="fake", models=("m",))
    hub.add_provider(name="loop", base_url=f"{hub.url}/v1", api_key=hub.issue_key())

    for _ in range(3):
        run(get_provider_manager().probe_and_refresh, "loop")

    row = ProviderConfig.objects.get(name="loop")
    assert "has come through this hub before" in row.last_error
    assert not ProviderModel.objects.filter(provider=row).exists()


def test_names_of_hubs_behind_hubs_are_taken_to_a_depth(hub, upstream):
    upstream.script = type(upstream.script)(model_names=("a/b/c/d/e/m", "a/b/c/d/e/f/m", "m"))
    hub.add_provider(upstream, name="deep")
    key = hub.issue_key()

    reply = hub.client.post("/api/providers/deep/refresh", headers=hub.headers(key))

    assert reply.json()["models"] == ["a/b/c/d/e/m", "m"]


def test_the_hubs_before_are_passed_on_and_no_other_proxy(hub, upstream):
    hub.add_provider(upstream, name="fake", default_model="m")
    other = "llmhub-0123456789abcdef"

    ask(hub, "fake/m", headers={"via": f"1.1 varnish, 1.1 {other}"})
    ask(hub, "fake/m", stream=True)

    assert [chat.headers["via"] for chat in upstream.chats] == [f"1.1 {other}, 1.1 {own_mark()}", f"1.1 {own_mark()}"]


def test_a_chat_through_very_many_hubs_is_refused(hub, upstream):
    hub.add_provider(upstream, name="fake", default_model="m")
    via = ", ".join(f"1.1 llmhub-{number:016x}" for number in range(9))

    reply = ask(hub, "fake/m", headers={"via": via})

    assert (reply.status_code, reply.json()["error"]["code"]) == (508, "loop_detected")
    assert closed_chat(reply.headers["x-request-id"]).status == ChatStatus.REJECTED

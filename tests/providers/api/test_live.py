"""The API beside chats under way, in one running hub."""

from __future__ import annotations

from tests import fakes
from tests.fakes import FakeProvider


def test_a_check_leaves_a_stream_under_way_alone(hub, upstream):
    hub.add_provider(upstream, name="vllm", models=("qwen",))
    upstream.fail(fakes.stall_after(2))
    headers = hub.headers(hub.issue_key())
    body = {"model": "vllm/qwen", "messages": [{"role": "user", "content": "hi"}], "stream": True}

    streaming = hub.in_background(lambda: hub.client.post("/v1/chat/completions", json=body, headers=headers))
    assert upstream.stalled.wait(5)
    with FakeProvider("custom") as other:
        hub.add_provider(other, name="other")
        checked = hub.client.post("/api/providers/other/check", headers=headers)
        probed = hub.client.get("/api/providers/health?live=1", headers=headers)
    upstream.release()

    assert checked.json()["ok"] is True
    assert probed.json()["other"] is True
    assert streaming.result(timeout=5).text.endswith("data: [DONE]\n\n")


def test_a_provider_registered_over_http_is_chatted_with_within_a_second(hub, upstream):
    headers = hub.headers(hub.issue_key())
    sent = {"name": "vllm", "provider_type": "custom", "base_url": upstream.url, "default_model": "qwen"}

    registered = hub.client.post("/api/providers/register", json=sent, headers=headers)
    hub.wait_for(lambda snapshot: "vllm" in snapshot.providers)
    answer = hub.client.post("/api/chat/multi", json={"message": "hi", "provider": "vllm"}, headers=headers)

    assert (registered.status_code, answer.status_code) == (201, 200)
    assert (answer.json()["provider"], len(upstream.chats)) == ("vllm", 1)

from __future__ import annotations

from tests.live import LiveHub


def test_a_running_hub_is_alive_and_ready(hub):
    assert hub.client.get("/healthz").json() == {"status": "ok"}
    assert hub.client.get("/readyz").json() == {"status": "ready"}


def test_metrics_count_chats_by_how_they_ended(hub: LiveHub, upstream):
    hub.add_provider(upstream, name="counted")
    ask = {"model": "counted/m", "messages": [{"role": "user", "content": "Hi"}]}

    hub.client.post("/v1/chat/completions", json=ask, headers=hub.headers(hub.issue_key()))

    lines = hub.client.get("/metrics").text.splitlines()
    assert 'llmhub_chats_total{dialect="openai",provider="counted",status="succeeded"} 1.0' in lines
    assert 'llmhub_tokens_total{direction="prompt",provider="counted"} 9.0' in lines

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack

from prometheus_client.parser import text_string_to_metric_families

from llmhub.http import probes
from tests.live import LiveHub
from tests.llmhub.embedded.processes import running

CANNOT_RECORD = """
import time
from chat.ledger import metrics
metrics.DOWN.labels("small").set(1)
metrics.GIVEN_UP.labels("refused").inc()
metrics.COMMIT.labels("small").observe(0.003)
print("ready", flush=True)
time.sleep(600)
"""


def read_metrics() -> dict[str, float]:
    """Return the sum of each metric over its labels."""
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(probes.render_metrics().decode()):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


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


def test_processes_that_died_no_longer_say_how_they_are_but_what_they_counted_stays(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with ExitStack() as stack:
        lasting, dying = (stack.enter_context(running(CANNOT_RECORD)) for _ in range(2))
        both = read_metrics()
        dying.kill()
        dying.wait()
        after = read_metrics()

    assert lasting.returncode is not None
    assert (both["llmhub_ledger_down"], after["llmhub_ledger_down"]) == (2, 1)
    assert both["llmhub_ledger_entries_given_up_total"] == after["llmhub_ledger_entries_given_up_total"] == 2
    assert after["llmhub_ledger_commit_seconds_count"] == 2


def test_metrics_of_several_processes_have_the_state_of_providers_once(hub, upstream, tmp_path, monkeypatch):
    hub.add_provider(upstream, name="acme")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    lines = hub.client.get("/metrics").text.splitlines()

    assert lines.count('llmhub_provider_health{health="unknown",provider="acme"} 1.0') == 1
    assert lines.count('llmhub_build_info{version="0.1.0"} 1.0') == 1

"""What is counted of chats, seen where Prometheus reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import EntryRefusedError
from chat.ledger.models import EventKind
from chat.ledger.writer import LedgerWriter, WriterLimits
from llmhub.runtime.database import conninfo
from providers.models import ProviderModel
from tests import fakes
from tests.live import LiveHub, until


@dataclass
class Numbers:
    """The metrics of a hub; what a test asks for is counted from the test's beginning."""

    hub: LiveHub
    before: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = self._read()

    def now(self, name: str, **labels: str) -> float | None:
        return self._read().get((name, frozenset(labels.items())))

    def since(self, name: str, **labels: str) -> float:
        return (self.now(name, **labels) or 0.0) - self.before.get((name, frozenset(labels.items())), 0.0)

    def _read(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.hub.client.get("/metrics").text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture
def numbers(hub: LiveHub) -> Numbers:
    return Numbers(hub)


def ask(hub: LiveHub, provider: str, *, key: str | None = None) -> httpx.Response:
    body = {"model": f"{provider}/m", "messages": [{"role": "user", "content": "Hi"}]}
    return hub.client.post("/v1/chat/completions", json=body, headers=hub.headers(key or hub.issue_key()))


def test_a_chat_is_in_flight_until_it_ends(hub, upstream, numbers):
    hub.add_provider(upstream, name="slow")
    upstream.fail(fakes.stall_before_headers())

    key = hub.issue_key()
    answer = hub.in_background(lambda: ask(hub, "slow", key=key))
    until(lambda: numbers.since("llmhub_chats_in_flight", kind="whole") == 1)
    upstream.release()

    assert answer.result().status_code == 200
    assert numbers.since("llmhub_chats_in_flight", kind="whole") == 0


def test_a_stream_is_in_flight_until_its_caller_leaves(hub, upstream, numbers):
    hub.add_provider(upstream, name="streaming")
    upstream.fail(fakes.stall_after(2))
    body = {"model": "streaming/m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}

    with hub.client.stream("POST", "/v1/chat/completions", json=body, headers=hub.headers(hub.issue_key())) as answer:
        received = answer.iter_bytes()
        next(received)
        during = numbers.since("llmhub_chats_in_flight", kind="stream")

    assert during == 1
    until(lambda: numbers.since("llmhub_chats_in_flight", kind="stream") == 0)
    upstream.release()


def test_failed_attempts_are_counted_beside_all(hub, upstream, numbers):
    hub.add_provider(upstream, name="failing")
    upstream.fail(fakes.status(500))

    ask(hub, "failing")
    ask(hub, "failing")

    assert numbers.since("llmhub_attempts_total", provider="failing") == 2
    assert numbers.since("llmhub_attempt_errors_total", provider="failing", error_type="UpstreamError") == 1


def test_what_chats_cost_is_summed_up(hub, upstream, numbers):
    row = hub.add_provider(upstream, name="priced", models=("m",))
    price = {"input_usd_per_mtok": Decimal(1000), "output_usd_per_mtok": Decimal(1000)}
    ProviderModel.objects.filter(provider=row).update(**price)
    hub.wait_for(lambda s: s.providers["priced"].models["m"].price.input_usd_per_mtok == 1000)

    tokens = ask(hub, "priced").json()["usage"]["total_tokens"]

    assert numbers.since("llmhub_cost_usd_total", provider="priced") == pytest.approx(tokens / 1000)
    assert numbers.since("llmhub_unpriced_chats_total", provider="priced") == 0


def test_a_chat_of_an_unknown_price_is_counted_apart(hub, upstream, numbers):
    hub.add_provider(upstream, name="unpriced")

    ask(hub, "unpriced")

    assert numbers.since("llmhub_unpriced_chats_total", provider="unpriced") == 1
    assert numbers.now("llmhub_cost_usd_total", provider="unpriced") is None


def test_refusals_are_counted_by_their_status(hub, numbers):
    key = hub.headers(hub.issue_key())

    hub.client.post("/v1/chat/completions", content=b"{", headers={**key, "content-type": "application/json"})
    hub.client.post("/v1/chat/completions", content=b"x", headers={**key, "content-type": "text/plain"})
    hub.client.post("/v1/chat/completions", json={}, headers=hub.headers("lh_unknown"))

    assert numbers.since("llmhub_rejections_total", status="400") == 1
    assert numbers.since("llmhub_rejections_total", status="415") == 1
    assert numbers.since("llmhub_unknown_key_requests_total") == 1


def test_the_time_that_is_the_hubs_own_falls_into_fine_steps(hub, upstream, numbers):
    hub.add_provider(upstream, name="quick")

    answer = ask(hub, "quick")

    own_s = float(answer.headers["x-llmhub-overhead-ms"]) / 1000
    assert numbers.since("llmhub_chat_overhead_seconds_count") == 1
    assert 0 < numbers.since("llmhub_chat_overhead_seconds_sum") <= own_s + 0.001


def test_commits_are_counted_with_their_entries(hub, upstream, numbers):
    hub.add_provider(upstream, name="recorded")

    ask(hub, "recorded")

    assert numbers.since("llmhub_ledger_batch_entries_sum", lane="small") == 2
    assert numbers.since("llmhub_ledger_commit_seconds_count", lane="small") == 2
    assert numbers.now("llmhub_ledger_queued_entries", lane="small") == 0
    assert numbers.now("llmhub_ledger_queued_bytes", lane="small") == 0


def test_a_deleted_provider_is_no_longer_spoken_of(hub, upstream, numbers):
    row = hub.add_provider(upstream, name="passing")
    during = numbers.now("llmhub_provider_health", provider="passing", health="unknown")

    row.delete()
    hub.wait_for(lambda s: "passing" not in s.providers)

    assert during == 1
    assert numbers.now("llmhub_provider_health", provider="passing", health="unknown") is None
    assert numbers.now("llmhub_provider_enabled", provider="passing") is None


def test_the_version_is_told(numbers):
    assert numbers.now("llmhub_build_info", version="0.1.0") == 1


async def test_a_writer_without_its_database_says_so(numbers):
    before = numbers.now("llmhub_ledger_down", lane="small")
    ledger = LedgerWriter(conninfo(host="127.0.0.1", port=1, hostaddr=""), limits=WriterLimits(first_retry_s=60))

    await ledger.start()
    down = numbers.now("llmhub_ledger_down", lane="small")
    ledger.append_when_up(entry())
    late = numbers.now("llmhub_ledger_late_entries", lane="small")
    await ledger.stop()

    assert (before, down, late) == (0, 1, 1)
    assert numbers.since("llmhub_ledger_entries_given_up_total", reason="stopped") == 1
    assert numbers.now("llmhub_ledger_down", lane="small") == 0
    assert numbers.now("llmhub_ledger_late_entries", lane="small") == 0


async def test_entries_that_are_given_up_are_counted_by_their_reason(numbers):
    ledger = LedgerWriter(conninfo(), limits=WriterLimits(late_bytes=0))
    await ledger.start()

    with pytest.raises(EntryRefusedError):
        await ledger.append(entry(event="not canonical"))
    ledger.append_when_up(entry())
    await ledger.stop()

    assert numbers.since("llmhub_ledger_entries_given_up_total", reason="refused") == 1
    assert numbers.since("llmhub_ledger_entries_given_up_total", reason="too_many") == 1


def test_an_alert_can_see_the_first_entry_that_is_given_up(numbers):
    reasons = ("refused", "too_many", "stopped")

    counts = [numbers.now("llmhub_ledger_entries_given_up_total", reason=reason) for reason in reasons]

    assert None not in counts


def entry(event: bytes = b'{"kind":"search"}') -> LedgerEntry:
    return LedgerEntry(kind=EventKind.SEARCH.value, chat_id=None, event=event, content=None)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.utils import timezone

from llmhub.access.secrets import Secret
from providers import manager, tasks
from providers.manager import get_provider_manager
from providers.models import Health, HealthCheck, ProviderConfig, ProviderModel
from providers.types import ModelInfo
from tests import fakes
from tests.fakes import FakeProvider

DEAD_URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def no_providers(db: None) -> None:
    ProviderConfig.objects.all().delete()


def add(name: str, base_url: str = DEAD_URL, **values: object) -> ProviderConfig:
    values = {"provider_type": "custom", "base_url": base_url} | values
    return get_provider_manager().register_provider(name, **values)[0]


def healths() -> dict[str, str]:
    return dict(ProviderConfig.objects.values_list("name", "health"))


def test_the_health_of_every_enabled_provider_is_checked(upstream):
    add("up", upstream.url)
    add("down")
    add("off", enabled=False)

    found = tasks.check_health()

    assert found == {"up": True, "down": False}
    assert healths() == {"up": Health.HEALTHY, "down": Health.UNHEALTHY, "off": Health.UNKNOWN}
    assert HealthCheck.objects.count() == 2


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"api_key": Secret("not a token")}, id="key-that-cannot-be-decrypted"),
        pytest.param({"settings": {"warp": 9}}, id="unknown-setting"),
        pytest.param({"provider_type": "skynet"}, id="unknown-type"),
    ],
)
def test_a_damaged_provider_does_not_keep_others_from_being_checked(upstream, damage):
    add("broken", upstream.url)
    add("up", upstream.url)
    ProviderConfig.objects.filter(name="broken").update(**damage)

    checked, refreshed = tasks.check_health(), tasks.refresh_models()

    assert checked["up"] is True
    assert checked.get("broken", False) is False
    assert refreshed == {"up": 2}


def test_providers_are_probed_at_the_same_time():
    with FakeProvider("custom") as first, FakeProvider("custom") as second, ThreadPoolExecutor(1) as pool:
        for fake in (first, second):
            fake.probe_faults.append(fakes.stall_before_headers())
            add(f"stalls-{fake.port}", fake.url)
        were_both_asked = pool.submit(release_once_asked, first, second)

        found = tasks.check_health()

        assert were_both_asked.result() is True
        assert list(found.values()) == [True, True]


def release_once_asked(*stalling: FakeProvider) -> bool:
    """Tell whether all are stalled at the same time; let them go on in any case."""
    try:
        return all(fake.stalled.wait(3) for fake in stalling)
    finally:
        for fake in stalling:
            fake.release()


def test_a_provider_that_stalls_is_given_up(monkeypatch, upstream):
    monkeypatch.setattr(manager, "PROBE_TIMEOUT_S", 0.2)
    upstream.probe_faults.append(fakes.stall_before_headers())
    add("stalls", upstream.url, timeout=3600)

    found = tasks.check_health()

    assert (found, upstream.hung_up.wait(5)) == ({"stalls": False}, True)
    assert ProviderConfig.objects.get().last_error.startswith("No answer within")


def test_models_are_refreshed_and_a_failing_provider_keeps_what_it_had(upstream):
    add("up", upstream.url)
    add("down").record_models([ModelInfo(name="qwen")], now=timezone.now())
    add("off", upstream.url, enabled=False)

    found = tasks.refresh_models()

    assert found == {"up": 2}
    assert list(ProviderModel.objects.values_list("provider__name", "name", "listed")) == [
        ("down", "qwen", True),
        ("up", "fake-large", True),
        ("up", "fake-small", True),
    ]


def test_health_checks_are_kept_for_thirty_days():
    row, now = add("vllm"), timezone.now()
    for days in (1, 29, 31, 60):
        HealthCheck.objects.create(provider=row, at=now - timedelta(days=days), ok=True, latency_ms=1)

    assert tasks.delete_expired_health_checks() == 2
    assert HealthCheck.objects.count() == 2

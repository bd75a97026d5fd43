from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from llmhub.access.secrets import Secret
from providers.models import Health, HealthCheck, ProviderConfig, ProviderModel, Rotation
from providers.types import ModelInfo, ProbeResult
from tests.live import until
from tests.providers.admin.rows import stored_key

pytestmark = pytest.mark.django_db

NOW = timezone.now()
KEY = "sk-canary-4711-canary-abcd"
WELL = ProbeResult(ok=True, latency_ms=5)
ILL = ProbeResult(ok=False, latency_ms=5, error="refused")


def make_provider(name: str = "vllm", **values: object) -> ProviderConfig:
    fields = {"provider_type": "custom", "base_url": "http://localhost:8000/v1"} | values
    return ProviderConfig.objects.create(name=name, **fields)


def test_an_empty_database_begins_with_ollama_as_its_default():
    row = ProviderConfig.objects.get()

    assert (row.name, row.provider_type, row.base_url) == ("ollama", "ollama", "http://localhost:11434")
    assert (row.enabled, row.is_default, row.default_model) == (True, True, "llama3.2")


def test_there_is_one_default_at_most():
    with pytest.raises(IntegrityError), transaction.atomic():
        make_provider(is_default=True)


def test_making_a_provider_the_default_takes_it_from_the_other():
    make_provider()

    ProviderConfig.objects.make_default("vllm")

    assert ProviderConfig.objects.get(is_default=True).name == "vllm"


def test_a_key_is_stored_encrypted():
    row = make_provider(api_key=KEY)

    stored = ProviderConfig.objects.get(pk=row.pk).api_key
    assert KEY not in stored.token
    assert (stored_key(row), str(stored), repr(stored)) == (KEY, "<secret>", "<secret>")


@pytest.mark.parametrize("word", ["register", "health", "models"])
def test_a_word_of_the_api_is_no_name(word):
    row = ProviderConfig(name=word, provider_type="custom", base_url="http://localhost:8000/v1")

    with pytest.raises(ValidationError) as caught:
        row.full_clean()

    assert list(caught.value.error_dict) == ["name"]


@pytest.mark.parametrize(
    ("probes", "health"),
    [
        ([WELL], Health.HEALTHY),
        ([ILL], Health.UNHEALTHY),
        ([WELL, ILL], Health.DEGRADED),
        ([WELL, ILL, ILL], Health.UNHEALTHY),
        ([WELL, ILL, WELL], Health.HEALTHY),
        ([ILL, WELL], Health.HEALTHY),
    ],
)
def test_health_follows_the_probes(probes, health):
    row = make_provider()

    for probe in probes:
        ProviderConfig.objects.get(pk=row.pk).record_probe(probe, now=NOW)

    row.refresh_from_db()
    assert (row.health, row.last_checked_at, row.last_error) == (health, NOW, probes[-1].error)
    assert HealthCheck.objects.count() == len(probes)


def test_of_two_probes_at_once_one_moves_the_health():
    row = make_provider(health=Health.HEALTHY)
    seen_before = ProviderConfig.objects.get(pk=row.pk)

    row.record_probe(ILL, now=NOW)
    seen_before.record_probe(ILL, now=NOW)

    assert ProviderConfig.objects.get(pk=row.pk).health == Health.DEGRADED


def test_a_vanished_model_is_marked_and_comes_back():
    row = make_provider()
    row.record_models([ModelInfo(name="qwen"), ModelInfo(name="glm")], now=NOW)

    row.record_models([ModelInfo(name="glm")], now=NOW + timedelta(hours=1))
    gone = ProviderModel.objects.get(name="qwen")
    row.record_models([ModelInfo(name="qwen"), ModelInfo(name="glm")], now=NOW + timedelta(hours=2))

    back = ProviderModel.objects.get(name="qwen")
    assert (gone.listed, gone.last_seen_at) == (False, NOW)
    assert (back.listed, back.first_seen_at, back.last_seen_at) == (True, NOW, NOW + timedelta(hours=2))


def test_what_an_admin_wrote_of_a_model_is_not_overwritten():
    row = make_provider()
    row.record_models([ModelInfo(name="qwen")], now=NOW)
    ProviderModel.objects.update(input_usd_per_mtok="1.5", capabilities=["vision"])

    row.record_models([ModelInfo(name="qwen", capabilities=("chat",))], now=NOW)

    model = ProviderModel.objects.get()
    assert (str(model.input_usd_per_mtok), model.capabilities) == ("1.500000", ["vision"])


def test_no_refresh_allows_what_an_admin_switched_off():
    row = make_provider()
    row.record_models([ModelInfo(name="qwen"), ModelInfo(name="llama")], now=NOW)
    assert ProviderModel.objects.filter(name="qwen").allow(on=False) == 1

    for listed in (["qwen"], [], ["qwen", "llama"]):
        row.record_models([ModelInfo(name=name) for name in listed], now=NOW)

        assert list(ProviderModel.objects.filter(allowed=False).values_list("name", flat=True)) == ["qwen"]

    assert list(ProviderModel.objects.offered().values_list("name", flat=True)) == ["llama"]
    assert ProviderConfig.objects.get(pk=row.pk).model_names == ["llama"]
    assert ProviderModel.objects.all().allow(on=True) == 1


def test_keys_are_rotated_to_the_first_of_the_secret_keys(settings):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.SECRET_KEYS = [old]
    row = make_provider(api_key=KEY)
    settings.SECRET_KEYS = [new, old]
    make_provider("another", api_key="another-secret-key")
    ProviderConfig.objects.filter(pk=row.pk).update(updated_at=NOW - timedelta(days=1))

    said = run_rotation()

    settings.SECRET_KEYS = [new]
    row.refresh_from_db()
    assert said == "Keys encrypted again: 1. Already current: 1.\n"
    assert (row.api_key.reveal(place=row.key_place), row.updated_at) == (KEY, NOW - timedelta(days=1))
    assert run_rotation() == "Keys encrypted again: 0. Already current: 2.\n"


def test_rotation_names_what_it_cannot_decrypt_and_rotates_the_rest(settings):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.SECRET_KEYS = [old]
    row = make_provider(api_key=KEY)
    lost = make_provider("lost", api_key=Secret("gAAAA-not-a-token"))
    settings.SECRET_KEYS = [new, old]

    with pytest.raises(CommandError, match=r"None of .* these providers: lost\."):
        run_rotation()

    settings.SECRET_KEYS = [new]
    assert stored_key(row) == KEY
    assert ProviderConfig.objects.get(pk=lost.pk).api_key.token == "gAAAA-not-a-token"


def run_rotation() -> str:
    out = StringIO()
    call_command("rotate_secrets", stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_rotation_leaves_a_key_that_is_entered_meanwhile(settings):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.SECRET_KEYS = [old]
    row = make_provider(api_key=KEY)
    settings.SECRET_KEYS = [new, old]

    with ThreadPoolExecutor(max_workers=1) as pool:
        with transaction.atomic():
            ProviderConfig.objects.change("vllm", {"api_key": "entered-meanwhile"})
            rotating = pool.submit(rotate_in_thread)
            until(is_someone_waiting)
        rotation = rotating.result(timeout=5)

    row.refresh_from_db()
    assert (rotation.rotated, row.api_key.reveal(place=row.key_place)) == (0, "entered-meanwhile")


def rotate_in_thread() -> Rotation:
    try:
        return ProviderConfig.objects.rotate_secrets()
    finally:
        connection.close()


def is_someone_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize(("told", "kept"), [(2**31 - 1, 2**31 - 1), (2**31, None), (2**40, None)])
def test_a_window_beyond_all_belief_is_not_known(told, kept):
    make_provider().record_models([ModelInfo(name="qwen", context_window=told, max_output_tokens=told)], now=NOW)

    model = ProviderModel.objects.get(name="qwen")
    assert (model.context_window, model.max_output_tokens) == (kept, kept)

from __future__ import annotations

import pytest

from llmhub.access.secrets import Secret
from providers.connection_test import ConnectionTestResult, StepOutcome, run_connection_test
from providers.models import ProviderConfig
from tests import fakes
from tests.fakes import FakeProvider
from tests.providers.serving import saying, serving

KEY = "sk-right-4711-right-abcd"
GOOD, FAILED, NOT_TRIED = StepOutcome.GOOD, StepOutcome.FAILED, StepOutcome.NOT_TRIED
HTTP_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def row_at(url: str, *, kind: str = "custom", **values: object) -> ProviderConfig:
    return ProviderConfig(**{"provider_type": kind, "base_url": url, "default_model": "fake-large", **values})


def outcomes(trial: ConnectionTestResult) -> list[StepOutcome]:
    return [step.outcome for step in trial.steps]


def cause_of(trial: ConnectionTestResult) -> str:
    (step,) = (step for step in trial.steps if step.outcome is FAILED)
    return step.message


@pytest.mark.parametrize("kind", ["openai", "anthropic", "google", "mistral", "ollama", "custom"])
async def test_a_provider_of_each_type_is_tried_to_the_end(kind):
    with FakeProvider(kind, api_key=KEY) as fake:
        trial = await run_connection_test(row_at(fake.url, kind=kind, api_key=KEY))

    assert trial.is_good
    assert trial.verdict == "The connection works."
    assert outcomes(trial) == [GOOD] * 3
    assert "fake-large" in trial.model_names
    assert fake.chats == []


async def test_each_wait_is_timed(upstream):
    trial = await run_connection_test(row_at(upstream.url.replace("127.0.0.1", "localhost")))

    lookup, connect, answer, model = trial.steps
    assert (lookup.title, lookup.outcome) == ("Look up the name", GOOD)
    assert all(step.took_ms is not None for step in (lookup, connect, answer))
    assert model.took_ms is None


@pytest.mark.parametrize("stored", [pytest.param(False, id="typed"), pytest.param(True, id="stored")])
async def test_a_key_that_is_rejected_is_told_and_not_shown(stored):
    with FakeProvider("openai", api_key=KEY) as fake:
        wrong = "sk-wrong-4711-wrong-wxyz"
        fake.probe_faults.append(fakes.status(401, f"No such key: {wrong}"))
        row = row_at(fake.url, kind="openai", api_key=wrong)
        if stored:
            row.api_key = Secret.seal(wrong, place=row.key_place)
        trial = await run_connection_test(row)

    assert outcomes(trial) == [GOOD, FAILED, NOT_TRIED]
    assert cause_of(trial).startswith("The key was rejected: ")
    assert wrong not in repr(trial)
    assert fake.requests[0].headers["authorization"] == f"Bearer {wrong}"


async def test_a_key_that_cannot_be_decrypted_is_told():
    trial = await run_connection_test(row_at("", kind="openai", api_key=Secret("not a token")))

    assert outcomes(trial) == [FAILED, NOT_TRIED, NOT_TRIED, NOT_TRIED]
    assert "cannot be decrypted" in cause_of(trial)


async def test_a_missing_model_is_told(upstream):
    trial = await run_connection_test(row_at(upstream.url, default_model="gpt-9"))

    assert cause_of(trial) == "Model missing: gpt-9 is not among the 2 models listed"
    assert trial.verdict == "The connection works, but the default model is missing."


async def test_no_default_model_is_doubtful(upstream):
    trial = await run_connection_test(row_at(upstream.url, default_model=""))

    assert outcomes(trial)[-1] is StepOutcome.DOUBTFUL
    assert trial.is_good


async def test_a_model_with_the_tag_latest_goes_by_its_name():
    with FakeProvider("ollama", model_names=("llama3.2:latest",)) as fake:
        trial = await run_connection_test(row_at(fake.url, kind="ollama", default_model="llama3.2"))

    assert trial.is_good


async def test_a_refused_connection_is_told(free_port):
    trial = await run_connection_test(row_at(f"http://127.0.0.1:{free_port}/v1"))

    assert outcomes(trial) == [FAILED, NOT_TRIED, NOT_TRIED]
    assert cause_of(trial) == f"connection refused by 127.0.0.1:{free_port}"


async def test_a_name_without_address_is_told(resolve):
    resolve()

    trial = await run_connection_test(row_at("https://nowhere.example/v1"))

    assert trial.steps[0].title == "Look up the name"
    assert outcomes(trial) == [FAILED, NOT_TRIED, NOT_TRIED, NOT_TRIED]
    assert cause_of(trial) == "DNS name not found: nowhere.example"


async def test_a_name_that_leads_to_a_forbidden_address_is_told(resolve):
    resolve("169.254.169.254")

    trial = await run_connection_test(row_at("https://harmless.example/v1"))

    assert trial.steps[0].outcome is FAILED
    assert "metadata address, which is never allowed" in cause_of(trial)


async def test_a_certificate_that_nobody_signed_is_told(untrusted_tls):
    async with serving(saying(HTTP_OK), ssl=untrusted_tls) as port:
        trial = await run_connection_test(row_at(f"https://127.0.0.1:{port}/v1"))

    assert trial.steps[0].title == "Connect with TLS"
    assert cause_of(trial) == "TLS certificate not valid: self-signed certificate"


@pytest.mark.slow
async def test_silence_is_told(upstream):
    upstream.probe_faults.append(fakes.stall_before_headers())

    trial = await run_connection_test(row_at(upstream.url, timeout=1))

    assert outcomes(trial) == [GOOD, FAILED, NOT_TRIED]
    assert cause_of(trial).startswith("Timed out: no answer from 127.0.0.1:")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(fakes.status(404, "No such page."), "Not found: is the base URL right? No such page.", id="path"),
        pytest.param(fakes.wrong_content_type(), "The address answers in another format", id="web-page"),
        pytest.param(fakes.status(429, "Slow down."), "The key is accepted, but the provider limits", id="throttled"),
        pytest.param(fakes.redirect("https://elsewhere.example/"), "redirects to elsewhere.example", id="redirect"),
        pytest.param(fakes.status(500, "Broken."), "Broken.", id="server-error"),
    ],
)
async def test_what_the_answer_means_is_told(upstream, fault, words):
    upstream.probe_faults.append(fault)

    trial = await run_connection_test(row_at(upstream.url))

    assert outcomes(trial) == [GOOD, FAILED, NOT_TRIED]
    assert words in cause_of(trial)

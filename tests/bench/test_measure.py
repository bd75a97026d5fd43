import os

import httpx
import psutil
import pytest

from tests.bench.__main__ import check_record
from tests.bench.cases import CASES, SMALL
from tests.bench.load import Measured
from tests.bench.measure import BenchError, Round, cpu_s, measure, summarise
from tests.bench.report import as_json
from tests.bench.targets import Target, url_of

CONTRACT = {"target", "case", "connections", "rps", "cpu_ms", "p50_ms", "p99_ms"}


def new_round(*, cpu_ms: float = 1.0, p50_ms: float = 2.0, requests: int = 10) -> Round:
    latencies = dict.fromkeys(("p99_ms", "first_p50_ms", "first_p99_ms"), 9.0)
    result = Measured(requests=requests, answered=requests, elapsed_s=0.5, p50_ms=p50_ms, **latencies)
    return Round(measured=result, cpu_ms=cpu_ms, helpers_ms={"postgres": cpu_ms / 10})


def test_targets_are_asked_in_turn(targets, load):
    found = measure(load, [*targets.values()], "chat", 1, rounds=2, seconds=0)

    assert {name: len(rounds) for name, rounds in found.items()} == {"direct": 2, "bare": 2}


def test_a_row_is_the_median_of_its_rounds():
    rounds = [new_round(cpu_ms=cpu_ms) for cpu_ms in (1.0, 9.0, 2.0)]

    (row,) = summarise({"direct": rounds}, "stream", 8, processes=2)

    assert (row.cpu_ms, row.cpu_ms_per_chunk, row.rps) == (2.0, 0.02, 20.0)
    assert row.helpers_cpu_ms == {"postgres": 0.2}
    assert row.load == ("stream_2_processes", 8, 2)


def test_what_a_target_adds_is_its_latency_without_that_of_the_upstream():
    found = {"direct": [new_round(p50_ms=2.0)], "hub": [new_round(p50_ms=5.0)]}

    direct, hub = summarise(found, "chat", 1, processes=1)

    assert (direct.added_p50_ms, hub.added_p50_ms) == (0.0, 3.0)


def test_rows_in_json_have_what_was_agreed_on():
    rows = as_json(summarise({"direct": [new_round()]}, "chat", 1, processes=1))

    assert [row["target"] for row in rows] == ["direct"]
    assert set(rows[0]) >= CONTRACT


def test_cpu_time_is_that_of_all_processes():
    own = psutil.Process(os.getpid())

    assert cpu_s(lambda: [own, own]) >= 2 * sum(os.times()[:2]) * 0.9


def test_a_target_that_answers_wrongly_ends_the_bench(targets, load):
    without_path = Target(name="hub", port=targets["direct"].port, served_by=list, headers={"content-length": "2"})

    with pytest.raises(BenchError, match=r"^hub: "):
        load.run(without_path, "chat", 1, seconds=0)


def test_the_upstream_lists_its_models(targets):
    listed = httpx.get(f"{url_of(targets['bare'])}/v1/models").json()

    assert SMALL in [row["id"] for row in listed["data"]]


def test_a_large_question_arrives_whole(targets):
    case = CASES["body_1mb"]
    answer = httpx.post(f"{url_of(targets['bare'])}/v1/chat/completions", content=case.body).json()

    assert len(case.body) > 1_000_000
    assert answer["usage"]["prompt_tokens"] > 249_000


@pytest.mark.parametrize("missing", ["chats", "intents", "outcomes"])
def test_a_chat_that_is_not_recorded_ends_the_bench(missing):
    before = {"chats": 1, "intents": 2, "outcomes": 3}
    after = {"chats": 11, "intents": 12, "outcomes": 13}

    check_record(before, after, answered=10)
    with pytest.raises(BenchError, match="answered 10 chats"):
        check_record(before, after | {missing: after[missing] - 1}, answered=10)

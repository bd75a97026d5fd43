from dataclasses import replace

import pytest

from tests.bench import report
from tests.bench.measure import Row

HUB = Row(
    target="hub",
    case="chat",
    connections=32,
    processes=1,
    rps=2000.0,
    cpu_ms=1.2,
    p50_ms=12.0,
    p99_ms=20.0,
    first_p50_ms=12.0,
    first_p99_ms=20.0,
    added_p50_ms=11.0,
    added_p99_ms=19.0,
    cpu_ms_per_chunk=None,
    helpers_cpu_ms={"postgres": 0.25},
)
BARE = replace(HUB, target="bare", cpu_ms=0.8, helpers_cpu_ms={})


def cells(text: str) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_the_table_has_a_line_for_each_row():
    bare, hub = cells(report.table([BARE, HUB], report.NO_BASELINE))

    assert (bare["target"], bare["CPU of bare"], bare["PostgreSQL ms"]) == ("bare", "", "")
    assert (hub["requests/s"], hub["CPU ms"], hub["CPU of bare"]) == ("2,000", "1.20", "1.50 ×")
    assert (hub["added p50 ms"], hub["PostgreSQL ms"]) == ("11.0", "0.25")


def test_the_lines_of_the_table_are_of_one_width():
    lines = report.table([BARE, replace(HUB, rps=1_234_567.0)], report.NO_BASELINE).splitlines()

    assert len({len(line) for line in lines}) == 1


def test_rows_are_compared_with_the_saved_ones(tmp_path):
    path = tmp_path / "baseline.json"
    report.save_baseline([replace(HUB, cpu_ms=1.0), BARE], {"date": "2026-01-31"}, path)

    baseline = report.read_baseline(path)
    (row,) = cells(report.table([HUB], baseline))

    assert row["since baseline"] == "CPU +20%"
    assert baseline.about == {"date": "2026-01-31"}


def test_without_a_baseline_nothing_is_compared(tmp_path):
    (row,) = cells(report.table([HUB], report.read_baseline(tmp_path / "none.json")))

    assert "since baseline" not in row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(HUB, ["met", "met"], id="within"),
        pytest.param(replace(HUB, cpu_ms=1.51), ["NOT MET", "met"], id="too-much"),
        pytest.param(replace(HUB, cpu_ms=1.7), ["NOT MET", "NOT MET"], id="far-too-much"),
    ],
)
def test_the_budget_is_compared_with_the_rows(row, expected):
    found = report.verdicts([BARE, row])

    assert [verdict.cells[-1] for verdict in found] == expected


@pytest.mark.parametrize(("rps", "expected"), [(80.0, "met"), (81.0, "NOT MET")])
def test_the_hub_is_compared_with_other_gateways(rps, expected):
    (verdict,) = report.peer_verdicts([HUB, replace(HUB, target="litellm", rps=rps)])

    assert verdict.cells[-1] == expected


@pytest.mark.parametrize("change", [{"case": "stream"}, {"connections": 1}], ids=str)
def test_what_has_no_budget_is_shown_without_a_verdict(change):
    hub = replace(HUB, **change)

    (verdict,) = report.peer_verdicts([hub, replace(hub, target="portkey", rps=1000.0)])

    assert verdict.cells[1:] == ("2.0 ×", "", "")


def test_the_budget_stands_before_the_rows():
    budget, rows = report.report([BARE, HUB], {"date": "2026-01-31"}, report.NO_BASELINE).split("\n\n")[1:]

    assert cells(budget)[0] == {
        "what": "CPU of a chat at 32 connections",
        "measured": "1.20 ms",
        "wanted": "at most 1.5 ms",
        "verdict": "met",
    }
    assert cells(rows)[1]["target"] == "hub"


def test_the_table_in_the_docs_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nAfter\n")

    report.write_docs("new", page)
    report.write_docs("newer", page)

    assert page.read_text() == "Before\n<!-- bench: begin -->\n\nnewer\n<!-- bench: end -->\nAfter\n"


def test_docs_without_a_place_for_the_table_are_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Nothing here\n")

    with pytest.raises(ValueError, match="no place"):
        report.write_docs("new", page)
    assert page.read_text() == "Nothing here\n"

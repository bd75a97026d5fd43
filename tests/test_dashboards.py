"""The files for Grafana and Prometheus ask for metrics and labels that there are."""

import json
import re
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from tests.metrics import served_metrics

DEPLOY = Path(__file__).parent.parent / "docs" / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = sorted({target["expr"] for target in TARGETS} | {rule["expr"] for rule in RULES})
SCRAPED = {"job", "instance"}
SAMPLES = {name: labels for metric in served_metrics() for name, labels in metric.samples.items()}


def parsed(query):
    return promql.parse(query.replace("$__rate_interval", "5m"))


def parts(expression, kind):
    found = []
    promql.walk(expression, lambda node: found.append(node) if isinstance(node, kind) else None, lambda _: None)
    return found


def selectors(expression):
    return parts(expression, promql.VectorSelector)


def labels_asked_for(expression):
    grouped = [node.modifier for node in parts(expression, promql.AggregateExpr) if node.modifier]
    matched = [node.modifier.matching for node in parts(expression, promql.BinaryExpr) if node.modifier]
    return {label for modifier in [*grouped, *matched] if modifier for label in modifier.labels}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_is_served(query):
    expression = parsed(query)

    asked = selectors(expression)
    assert asked
    for selector in asked:
        assert selector.name in SAMPLES
        wanted = {matcher.name for matcher in selector.matchers.matchers}
        assert wanted <= SAMPLES[selector.name] | SCRAPED
    assert labels_asked_for(expression) <= {label for s in asked for label in SAMPLES[s.name]} | SCRAPED


@pytest.mark.parametrize("metric", served_metrics(), ids=lambda metric: metric.name)
def test_every_metric_is_shown(metric):
    shown = {selector.name for target in TARGETS for selector in selectors(parsed(target["expr"]))}

    assert shown & set(metric.samples)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"])
def test_a_line_is_named_by_labels_that_it_has(target):
    named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))

    assert named <= labels_asked_for(parsed(target["expr"]))


def test_the_dashboard_can_be_imported_anywhere():
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}

    assert variables == {"datasource", "provider"}
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert DASHBOARD["schemaVersion"] >= 41


def test_no_two_panels_cover_each_other():
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_it_is(rule):
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))

    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert named <= labels_asked_for(parsed(rule["expr"]))

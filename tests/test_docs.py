"""The documentation says what the code has: links, settings, paths, metrics, errors, provider types."""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from chat.gateway.errors import SERVED
from chat.ledger.models import ChatStatus
from llmhub import gateway_urls
from llmhub.access.principals import NotPermittedError, Scope
from llmhub.embedded.options import read_options
from llmhub.runtime.logs import ORDER
from llmhub.settings import Environment
from providers.backends import BACKENDS
from tests.metrics import served_metrics

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
IMPORT = re.compile(r"^from ([\w.]+) import ([\w, ]+)$", re.MULTILINE)
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.\w+)`")
PARAMETER = re.compile(r"<\w+:\w+>|\{\w+\}")


class Recorder(dict[str, str]):
    """An empty environment that notes what is looked for in it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def get(self, key, default=None):
        self.asked.add(key)
        return default


def text_of(page):
    return (ROOT / "docs" / page).read_text()


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def variables():
    recorder = Recorder()
    read_options(recorder)
    return recorder.asked | {name.upper() for name in Environment.model_fields}


def paths(patterns, prefix="/") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from paths(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield path


def answers_with_a_code():
    """Refusals of what a key does not allow are left out: each brings a more precise code along."""
    return [answer for error, answer in SERVED.items() if answer.code and error is not NotPermittedError]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]

    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_is_there(page):
    named = [name for name in FILE.findall(page.read_text()) if not name.startswith(".llmhub/")]

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_snippets_import_is_there():
    imported = [found for page in PAGES for found in IMPORT.findall(page.read_text())]

    assert imported
    for module, names in imported:
        assert [name for name in names.split(", ") if not hasattr(import_module(module), name)] == [], module


def test_every_decision_record_is_listed_and_short():
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))

    linked = set(LINK.findall((ROOT / "docs" / "adr" / "README.md").read_text()))
    assert {record.name for record in records} <= linked
    assert [record.name for record in records if len(record.read_text().splitlines()) >= 60] == []


@pytest.mark.parametrize("variable", sorted(variables()))
def test_every_variable_of_the_environment_is_explained(variable):
    assert re.search(rf"^\| [^|]*`{variable}`", text_of("operations.md"), re.MULTILINE)


def test_every_served_path_is_described():
    shown = PARAMETER.sub("{}", text_of("api.md"))
    of_django = [path for path in paths(get_resolver().url_patterns) if path.startswith("/api/")]
    served = {PARAMETER.sub("{}", path) for path in [*paths(gateway_urls.urlpatterns), *of_django]}

    assert [path for path in sorted(served) if not re.search(rf"{re.escape(path)}[`?\s]", shown)] == []


def test_the_metrics_are_those_that_are_served():
    rows = re.findall(r"^\| `(llmhub_\w+)` \| (\w+) \|([^|]*)\|", text_of("operations.md"), re.MULTILINE)
    told = {
        (name, kind, frozenset(re.findall(r"`(\w+)`", re.sub(r"\(.*\)", "", labels)))) for name, kind, labels in rows
    }

    assert told == {(metric.name, metric.type, metric.labels) for metric in served_metrics()}


def test_the_fields_of_a_line_of_the_log_are_explained():
    rows = re.findall(r"^\| (`[^|]+) \|", text_of("operations.md").split("### Logs")[1], re.MULTILINE)
    sample = json.loads(re.search(r"^\{.*\}$", text_of("operations.md"), re.MULTILINE)[0])

    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(ORDER) <= named
    assert set(sample) <= set(ORDER)


@pytest.mark.parametrize("answer", answers_with_a_code(), ids=lambda answer: answer.code)
def test_every_error_code_has_its_row(answer):
    row = rf"^\| {answer.status} \| `{answer.type}` \| [^|]*`{answer.code}`"

    assert re.search(row, text_of("api.md"), re.MULTILINE)


@pytest.mark.parametrize("provider_type", BACKENDS)
def test_every_provider_type_has_its_row(provider_type):
    backend = BACKENDS[provider_type]
    row = re.search(rf"^\| `{provider_type}` \|.*$", text_of("providers.md"), re.MULTILINE)

    assert row
    assert backend.default_base_url in row[0]
    assert [key for key in backend.settings_model.model_fields if f"`{key}`" not in row[0]] == []


@pytest.mark.parametrize("word", [*Scope.values, *ChatStatus.values])
def test_every_scope_and_status_is_named(word):
    assert f"`{word}`" in text_of("api.md")

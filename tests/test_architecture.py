"""What import-linter's contracts, between modules of the hub, do not say."""

import ast
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLD_VALUE_TYPES = ROOT / "providers" / "types.py"
MODULES = [path for package in ("llmhub", "providers", "chat") for path in sorted((ROOT / package).rglob("*.py"))]


@cache
def imported(path):
    """The names of all modules that a module imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    direct = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return direct + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]


def importers(*distributions):
    return {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if any(name.partition(".")[0] in distributions for name in imported(path))
    }


def test_one_module_speaks_http_to_providers():
    assert importers("httpx", "httpx_aiohttp", "aiohttp", "requests", "urllib3") == {"providers/http.py"}


@pytest.mark.parametrize("sdk", ["openai", "anthropic", "google", "mistralai", "ollama", "litellm", "httpx2"])
def test_no_vendors_client_is_used(sdk):
    assert importers(sdk) == set()


def test_tests_are_no_part_of_the_product():
    assert importers("tests", "pytest", "hypothesis", "time_machine") == set()


@pytest.mark.parametrize("method", ["iter_lines", "aiter_lines"])
def test_streams_are_not_split_where_json_may_hold_a_line_end(method):
    assert [path for path in MODULES if f".{method}(" in path.read_text()] == []


def test_every_package_is_under_the_linters_contracts():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}

    assert packages == set(config["root_packages"])


def test_a_class_name_has_one_meaning_in_the_whole_tree():
    places = defaultdict(list)
    for path in MODULES:
        if "commands" not in path.parts and path != OLD_VALUE_TYPES:  # Django finds a command by its class's name
            classes = [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef)]
            for node in classes:
                places[node.name].append(path.relative_to(ROOT).as_posix())

    assert {name: paths for name, paths in places.items() if len(paths) > 1 and name != "Migration"} == {}

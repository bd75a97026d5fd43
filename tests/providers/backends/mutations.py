"""Samples of the wire with one value replaced or left out, as a broken provider would send them."""

import copy
from typing import Any

from hypothesis import strategies as st

WRONG_VALUES = (None, "", "text", 0, -1, 7, 1.5, True, [], [None], ["text"], [[]], {}, {"a": 1}, [{}])


def mutated(sample: Any) -> st.SearchStrategy[Any]:
    return st.tuples(st.sampled_from(list(_paths(sample))), st.sampled_from((*WRONG_VALUES, ...))).map(
        lambda change: changed(sample, *change)
    )


def _paths(value: Any, path: tuple[Any, ...] = ()):
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def changed(sample: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """Put `wrong` at `path`, or after the last of a list; an ellipsis takes away what is there."""
    copied = copy.deepcopy(sample)
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    if wrong is ...:
        del parent[path[-1]]
    elif isinstance(parent, list):
        parent[path[-1] : path[-1] + 1] = [copy.deepcopy(wrong)]
    else:
        parent[path[-1]] = copy.deepcopy(wrong)
    return copied

"""A copy of the hub that asks the provider first and records the intent afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

from llmhub.embedded.options import ROOT

PACKAGES = ("llmhub", "providers", "chat")
CHANGES = {
    "request = await self._open(call)": "request = call.request",
    "        await self._close(call, ChatStatus.SUCCEEDED": (
        "        await self._open(call)\n        await self._close(call, ChatStatus.SUCCEEDED"
    ),
}
PLACES = 2  # whole answers and streams


def make_mutant(tree: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package)
    pipeline = tree / "chat" / "pipeline.py"
    text = pipeline.read_text()
    for old, new in CHANGES.items():
        assert text.count(old) == PLACES, f"The pipeline has {text.count(old)} and not {PLACES} times: {old}"
        text = text.replace(old, new)
    pipeline.write_text(text)

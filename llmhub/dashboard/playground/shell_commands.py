"""Render a chat as safe shell commands and Python, whatever the prompt contains."""

from __future__ import annotations

import json
import shlex
from pprint import pformat

from providers.types import JSONObject

PYTHON = """\
import json
import os
import urllib.request

body = {body}

request = urllib.request.Request(
    {url!r},
    data=json.dumps(body).encode(),
    headers={{"Authorization": "Bearer " + os.environ["LLMHUB_KEY"], "Content-Type": "application/json"}},
)
with urllib.request.urlopen(request) as answer:
    for line in answer:
        print(line.decode(), end="")
"""


def curl_snippet(url: str, body: JSONObject) -> str:
    """Return a chat as a POSIX shell command that reads the key from `LLMHUB_KEY`."""
    lines = [
        f"curl -N {shlex.quote(url)}" if body.get("stream") else f"curl {shlex.quote(url)}",
        '-H "Authorization: Bearer $LLMHUB_KEY"',
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(_visible_json(body))}",
    ]
    return " \\\n  ".join(lines) + "\n"


def python_snippet(url: str, body: JSONObject) -> str:
    """Return a chat as a Python program without dependencies that reads the key from `LLMHUB_KEY`."""
    return PYTHON.format(body=pformat(body, width=100, sort_dicts=False), url=url)


def _visible_json(body: JSONObject) -> str:
    """Return JSON on one line, with unprintable characters escaped."""
    text = json.dumps(body, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)

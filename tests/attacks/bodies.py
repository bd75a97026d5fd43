"""The worst bodies that were found, as files that attackers send without a look at them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

MB = 1_000_000
LARGE = 31 * MB
MODEL = "quiet/echo"
QUESTION = '{"role":"user","content":"Hello"}'


def hide(_size: int) -> str:
    """Numbers that grow when they are written anew, and the messages behind them."""
    pad = ",".join(["1e15"] * 1_900_000)
    file = "data:image/png;base64,iVBORw0KGgo="
    return f'{{"model":"{MODEL}","pad":[{pad}],"more":{{"url":"{file}"}},"messages":[{QUESTION}]}}'


def objects_behind_a_file(size: int) -> str:
    """Millions of objects, and a word that says they may hold a file."""
    return '{"x":["base64,",' + "{}," * (size // 3) + "1]}"


def objects(size: int) -> str:
    return f'{{"model":"{MODEL}","messages":[{QUESTION}],"x":[' + "{}," * (size // 3) + "1]}"


def messages(size: int) -> str:
    return f'{{"model":"{MODEL}","messages":[' + f"{QUESTION}," * (size // len(QUESTION)) + f"{QUESTION}]}}"


def values(size: int) -> str:
    """As many numbers as fit into a body that is not large."""
    return f'{{"model":"{MODEL}","messages":[{QUESTION}],"x":[' + "1," * ((size - 200) // 2) + "1]}"


def no_text(size: int) -> bytes:
    """What is no UTF-8, in the place of a text."""
    return b'{"model":"%b","messages":[{"role":"user","content":"%b"}]}' % (MODEL.encode(), b"\xff" * size)


def noise(size: int) -> str:
    """A text that does not shrink when it is stored."""
    text = random.Random(1).randbytes(size // 2).hex()
    return f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"{text}"}}]}}'


def prompt(model: str, *, is_stream: bool) -> bytes:
    """The body of an ordinary chat."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return json.dumps(asked | ({"stream": True} if is_stream else {})).encode()


WORST: Mapping[str, tuple[Callable[[int], str | bytes], int]] = {
    "hide": (hide, LARGE),
    "objects behind a file": (objects_behind_a_file, 32 * MB),
    "objects behind a file, 8 MB": (objects_behind_a_file, 8 * MB),
    "values, 256 KB": (values, 256_000),
    "no text": (no_text, LARGE),
    "objects": (objects, LARGE),
    "messages": (messages, LARGE),
    "noise": (noise, LARGE),
}


def write_bodies(folder: Path) -> dict[str, Path]:
    """Write each of them into a file of the folder, and return these by their names."""
    found = {}
    for name, (make, size) in WORST.items():
        body = make(size)
        found[name] = folder / f"{name}.json"
        found[name].write_bytes(body.encode() if isinstance(body, str) else body)
    return found

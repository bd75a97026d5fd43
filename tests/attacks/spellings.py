"""Bodies of chats as an attacker would write them: what the provider gets and what the record shows shall differ."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from typing import Any

ODD_NUMBERS = ("1e15", "1E+2", "-0", "-0.0", "1.0", "1e-7", "12345678901234567890", "-1.5e300", "0.1000000000000000055")
WORDS = (
    "SECRET", "hello", "", " ", '"', "\\", "\\\\", "/", "a\nb", "\x00", "\u2028", "é", "日本", "😀", "\ufeff",
    '","messages":[],"x":"', '{"url":"data:image/png;base64,AAAA"}', "data:image/png;base64,AAAA", "base64,",
)  # fmt: skip
SPACES = ("", "", "", " ", "\n", "\t", "\r\n", "    ")


class BodyWriter:
    """Writes JSON in every spelling that means the same, and with every trap in it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def body(self) -> bytes:
        """Return a chat's body; most are good requests."""
        fields = [("model", self._text("up/fake-large")), ("messages", self._messages())]
        fields += [self._trap() for _ in range(self._rng.randrange(4))]
        self._rng.shuffle(fields)
        if self._rng.random() < 0.3:
            twin = self._rng.choice(fields)[0]
            value = self._messages() if twin == "messages" else self._text("up/fake-small") if twin == "model" else "1"
            fields.insert(self._rng.randrange(len(fields) + 1), (twin, value))
        raw = self._object(fields).encode("utf-8", "surrogatepass")
        return raw + self._rng.choice((b"",) * 30 + (b" \n", b"{}", b"\x00", b',"messages":[]}'))

    def _messages(self) -> str:
        return self._list([self._message() for _ in range(self._rng.randrange(1, 4))])

    def _message(self) -> str:
        role = self._rng.choice(("user", "user", "system", "assistant"))
        content = self._content() if role == "user" else self._text(self._words())
        fields = [("role", self._text(role)), ("content", content)]
        if self._rng.random() < 0.2:
            fields.append(self._rng.choice([fields[0], ("content", self._content())]))
        if self._rng.random() < 0.2:
            fields.append(self._trap())
        self._rng.shuffle(fields)
        return self._object(fields)

    def _content(self) -> str:
        if self._rng.random() < 0.5:
            return self._text(self._words())
        return self._list([self._part() for _ in range(self._rng.randrange(1, 4))])

    def _part(self) -> str:
        kind = self._rng.choice(("text", "image", "audio", "file", "odd"))
        if kind == "text":
            return self._object([("type", self._text("text")), ("text", self._text(self._words()))])
        file = base64.b64encode(self._rng.randbytes(self._rng.randrange(40))).decode()
        url = self._text(f"data:{self._rng.choice(('image/png', 'text/plain', ''))};base64,{file}")
        if kind == "image":
            holder = [("url", url)] + ([("url", url)] if self._rng.random() < 0.2 else [])
            return self._object([("type", self._text("image_url")), ("image_url", self._object(holder))])
        if kind == "audio":
            holder = [("data", self._text(file)), ("format", self._text("wav"))]
            self._rng.shuffle(holder)
            return self._object([("type", self._text("input_audio")), ("input_audio", self._object(holder))])
        if kind == "file":
            return self._object([("type", self._text("file")), ("file", self._object([("file_data", url)]))])
        return self._object([("type", self._text("odd")), (self._rng.choice(WORDS), url), self._trap()])

    def _trap(self) -> tuple[str, str]:
        return self._rng.choice(
            (
                ("pad", self._list([self._rng.choice(ODD_NUMBERS) for _ in range(self._rng.randrange(60))])),
                ("x", self._object([("messages", self._list([self._text("decoy")]))])),
                ("url", self._text("data:image/png;base64,AAAA")),
                ("metadata", self._object([(self._words(), self._text(self._words()))])),
                ("Messages", self._list([])),
                (self._words() or "y", self._text(self._words())),
            )
        )

    def _words(self) -> str:
        return "".join(self._rng.choices(WORDS, k=self._rng.randrange(1, 4)))

    def _object(self, fields: list[tuple[str, str]]) -> str:
        inside = f"{self._space()},{self._space()}".join(
            f"{self._text(name)}{self._space()}:{self._space()}{value}" for name, value in fields
        )
        return f"{{{self._space()}{inside}{self._space()}}}"

    def _list(self, items: list[str]) -> str:
        return f"[{self._space()}{f'{self._space()},'.join(items)}{self._space()}]"

    def _space(self) -> str:
        return self._rng.choice(SPACES)

    def _text(self, text: str) -> str:
        """Write a string with some of its characters as escapes."""
        spelled = json.dumps(text, ensure_ascii=self._rng.random() < 0.5)
        if self._rng.random() < 0.2:
            spelled = spelled.replace("/", "\\/")
        if self._rng.random() < 0.15:
            odd = self._rng.choice("adeurlsgtcom4")
            spelled = spelled.replace(odd, f"\\u{ord(odd):04x}") if "\\" not in spelled else spelled
        return spelled


def is_shown(shown: Any, sent: Any) -> bool:
    """Whether what a record shows is what was sent.

    A file is described, a field without a value is left out or not, and a lone text may go out as a string.
    """
    if isinstance(shown, list) and isinstance(sent, str):
        return shown == [{"type": "text", "text": sent}]
    if isinstance(shown, dict) and shown.keys() == {"media_type", "bytes", "sha256"} and isinstance(sent, str):
        return shown == described(sent, shown["media_type"])
    if isinstance(shown, dict) and isinstance(sent, dict):
        names = shown.keys() | sent.keys()
        return all(is_shown(shown.get(name), sent.get(name)) for name in names)
    if isinstance(shown, list) and isinstance(sent, list):
        return len(shown) == len(sent) and all(map(is_shown, shown, sent))
    return type(shown) is type(sent) and shown == sent


def described(sent: str, media_type: str) -> dict[str, Any]:
    file = base64.b64decode(sent.rpartition(",")[2], validate=True)
    return {"media_type": media_type, "bytes": len(file), "sha256": hashlib.sha256(file).hexdigest()}

"""Base64 files in JSON: found and cut out of its bytes without parsing it, so that all else stays as it came.

A quote that no backslash stands before opens or closes a string, and only a colon follows that which closes a key. So
`"url":"` cannot be a part of a text, whatever JSON it stands in.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import orjson

MAX_FILES = 1000
"""So many files are cut out of one body; any more stay in it."""

MAX_PLACES = 20_000
"""So many places are looked at: a body that is full of what looks like files costs no more than its length."""

_NO_WORDS = re.compile(
    r"\s*(?:(?:image|audio|video)/|application/(?:pdf|zip|msword|vnd\.))(?![^;]*(?:json|xml)\s*(?:;|\Z)).*|",
    re.IGNORECASE,
)
"""Types of files that nobody reads as words. What any other holds may be what was said, and stays."""

_SOUND = re.compile(r"wav|mp[34]|mpeg|flac|ogg|opus|aac|aiff|m4a|webm|pcm16|g711_[au]law", re.IGNORECASE)
"""What a `format` may say that makes a file of sound of what stands beside it."""

_UNSAID = "text/plain"
"""The type of a `data:` URL that names none."""

_PLACES = (b'"data:', b'"data"', b'"file_data"')
_PLACE = re.compile(b"|".join(_PLACES))
_LONGEST_PLACE = max(map(len, _PLACES))
_FEW_QUOTES = 256
_SMALL_BYTES = 16 * 1024
_HEAD_BYTES = 512
_KEY = rb'(?<!\\)"(%b)"[ \t\r\n]*+:[ \t\r\n]*+"'
_URL = re.compile(_KEY % rb"url|image_url|file_url|file_data" + rb"\Z")
_HEADER = re.compile(rb"data:((?:[^\",\\]|\\/){0,200});base64,")
_BARE = re.compile(_KEY % rb"file_data|data")
_TYPE = rb'(?<!\\)"(format|media_type|mime_type|mimeType)"[ \t\r\n]*+:[ \t\r\n]*+"((?:[^"\\]|\\/){0,200})"'
_TYPE_BEFORE = re.compile(_TYPE + rb"[ \t\r\n]*+,[ \t\r\n]*+\Z")
_TYPE_AFTER = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+" + _TYPE)

# What is done in one step holds the interpreter: between two, other threads get their turns.
_SEARCHED_AT_ONCE = 1 << 18
_DECODED_AT_ONCE = 1 << 20  # characters of Base64, a multiple of four


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFile:
    """A file that was cut out of a body.

    Shape: it stood in what is left of the body at the byte `at`, as `chars` characters of Base64, each slash as `\\/`
    where `is_escaped`: with the file in hand, the body can be made again as it came. `sha256` is in hex.
    """

    at: int
    chars: int
    is_escaped: bool
    media_type: str
    size_bytes: int
    sha256: str


def cut_files(raw: bytes) -> tuple[bytes, tuple[CutFile, ...]]:
    """Return a body without its files, and what they were; a body without any as it is.

    A file stands as a `data:` URL in `url`, `image_url`, `file_url` or `file_data`, or as Base64 in `file_data`, or in
    `data` beside its `format` or `media_type`. Takes time by the length of the body, whatever it holds.
    """
    if len(raw) <= _SMALL_BYTES and _PLACE.search(raw) is None:
        return raw, ()
    pieces: list[bytes] = []
    files: list[CutFile] = []
    kept_bytes = kept_until = 0
    for start, stop, media_type in islice(_payloads(raw), MAX_FILES):
        file = _read_file(raw, start, stop)
        if file is None:
            continue
        is_escaped, size_bytes, sha256 = file
        kept_bytes += start - kept_until
        pieces.append(raw[kept_until:start])
        kept_until = stop
        files.append(
            CutFile(
                at=kept_bytes,
                chars=stop - start,
                is_escaped=is_escaped,
                media_type=media_type,
                size_bytes=size_bytes,
                sha256=sha256,
            )
        )
    if not files:
        return raw, ()
    pieces.append(raw[kept_until:])
    return b"".join(pieces), tuple(files)


def dump_files(files: Sequence[CutFile]) -> str:
    return orjson.dumps([asdict(file) for file in files]).decode()


def load_files(text: str) -> tuple[CutFile, ...]:
    return tuple(CutFile(**file) for file in orjson.loads(text))


def describe_files(kept: bytes, files: Sequence[CutFile]) -> bytes:
    """Put a description in the place of each file, the quotes around it included: JSON stays JSON."""
    pieces: list[bytes] = []
    shown_until = 0
    for file in files:
        pieces.append(kept[shown_until : kept.rfind(b'"', shown_until, file.at)])
        pieces.append(orjson.dumps({"media_type": file.media_type, "bytes": file.size_bytes, "sha256": file.sha256}))
        shown_until = file.at + 1
    pieces.append(kept[shown_until:])
    return b"".join(pieces)


def _payloads(raw: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield where Base64 may stand, from its first character to the quote behind its last, and its media type."""
    for quote in islice(_places(raw), MAX_PLACES):
        found = _data_url(raw, quote) if raw.startswith(b'"data:', quote) else _bare(raw, quote)
        if found is None:
            continue
        start, media_type = found
        stop = raw.find(b'"', start)
        if stop < 0:
            return
        if media_type is None:
            media_type = _type_beside(raw, quote, stop)
        if media_type is not None and _NO_WORDS.fullmatch(media_type):
            yield start, stop, media_type


def _places(raw: bytes) -> Iterator[int]:
    """Yield the quotes behind which one of `_PLACES` stands: from one to the next where these are few, as in texts."""
    for start in range(0, len(raw), _SEARCHED_AT_ONCE):
        stop = start + _SEARCHED_AT_ONCE
        quote = start - 1
        for _ in range(_FEW_QUOTES):
            quote = raw.find(b'"', quote + 1, stop)
            if quote < 0:
                break
            if raw.startswith(_PLACES, quote):
                yield quote
        else:
            for place in _PLACE.finditer(raw, quote + 1, stop + _LONGEST_PLACE - 1):
                if place.start() < stop:  # others are the next step's
                    yield place.start()


def _data_url(raw: bytes, quote: int) -> tuple[int, str] | None:
    header = _HEADER.match(raw, quote + 1)
    if header is None or not _URL.search(raw, max(0, quote - _HEAD_BYTES), quote + 1):
        return None
    return header.end(), _text(header[1]).partition(";")[0].strip() or _UNSAID


def _bare(raw: bytes, quote: int) -> tuple[int, str | None] | None:
    key = _BARE.match(raw, quote)
    if key is None or raw.startswith(b"data:", key.end()):
        return None
    return key.end(), "" if key[1] == b"file_data" else None


def _type_beside(raw: bytes, key: int, stop: int) -> str | None:
    """Return the type that stands right before a key, or right behind its value; None where that is no type."""
    beside = _TYPE_AFTER.match(raw, stop + 1) or _TYPE_BEFORE.search(raw, max(0, key - _HEAD_BYTES), key)
    if beside is None:
        return None
    told = _text(beside[2])
    if beside[1] != b"format":
        return told or None
    return f"audio/{told}" if _SOUND.fullmatch(told) else None


def _text(told: bytes) -> str:
    return told.replace(b"\\/", b"/").decode("utf-8", "replace")


def _read_file(raw: bytes, start: int, stop: int) -> tuple[bool, int, str] | None:
    """Return how the slashes are written, the size and the hash; None for what cannot be made again from these."""
    is_escaped = raw.find(b"\\", start, stop) >= 0
    payload = memoryview(raw)[start:stop]
    if is_escaped:
        unescaped = raw[start:stop].replace(b"\\/", b"/")
        if len(unescaped) + unescaped.count(b"/") != stop - start:
            return None
        payload = memoryview(unescaped)
    if len(payload) % 4:
        return None
    digest = hashlib.sha256()
    size_bytes = 0
    piece = b""
    for first in range(0, len(payload), _DECODED_AT_ONCE):
        if len(piece) % 3:  # padding, but not at the end
            return None
        try:
            piece = binascii.a2b_base64(payload[first : first + _DECODED_AT_ONCE], strict_mode=True)
        except ValueError:
            return None
        digest.update(piece)
        size_bytes += len(piece)
    if binascii.b2a_base64(piece[-(len(piece) % 3 or 3) :], newline=False) != bytes(payload[-4:]):
        return None
    return is_escaped, size_bytes, digest.hexdigest()

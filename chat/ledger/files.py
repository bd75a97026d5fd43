"""Cut Base64 files out of the bytes of JSON without parsing it, so that every other byte stays as received.

An unescaped quote opens or closes a string, and a colon follows only the quote that closes a key. So `"url":"` cannot
be part of a string, whatever the JSON around it.
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
"""The most files cut out of one body; any more stay in it."""

MAX_CANDIDATES = 20_000
"""The most candidates examined: a body full of lookalikes costs no more than its length."""

_BINARY_TYPES = re.compile(
    r"\s*(?:(?:image|audio|video)/|application/(?:pdf|zip|msword|vnd\.))(?![^;]*(?:json|xml)\s*(?:;|\Z)).*|",
    re.IGNORECASE,
)
"""Media types that hold no text. A file of any other type may be part of the conversation, and stays."""

_AUDIO_FORMATS = re.compile(r"wav|mp[34]|mpeg|flac|ogg|opus|aac|aiff|m4a|webm|pcm16|g711_[au]law", re.IGNORECASE)
"""Values of `format` that mark the Base64 beside it as audio."""

_DEFAULT_TYPE = "text/plain"
"""The media type of a `data:` URL without one."""

_MARKERS = (b'"data:', b'"data"', b'"file_data"')
_MARKER = re.compile(b"|".join(_MARKERS))
_LONGEST_MARKER = max(map(len, _MARKERS))
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

# One step holds the interpreter lock; other threads run between two steps.
_SEARCH_STEP = 1 << 18
_DECODE_STEP = 1 << 20  # characters of Base64, a multiple of four


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFile:
    """A file that was cut out of a body. Together with the file's bytes it restores the received body.

    Shape: the file belongs at byte `at` of the remaining body, as `chars` characters of Base64. `is_escaped` tells
    whether each slash was written as `\\/`. `sha256` is in hex.
    """

    at: int
    chars: int
    is_escaped: bool
    media_type: str
    size_bytes: int
    sha256: str


def cut_files(raw: bytes) -> tuple[bytes, tuple[CutFile, ...]]:
    """Return a body without its files, and their descriptions; a body without files unchanged.

    A file is a `data:` URL in `url`, `image_url`, `file_url` or `file_data`; or Base64 in `file_data`; or Base64 in
    `data` beside its `format` or `media_type`. The cost is linear in the length of the body, whatever it holds.
    """
    if len(raw) <= _SMALL_BYTES and _MARKER.search(raw) is None:
        return raw, ()
    chunks: list[bytes] = []
    files: list[CutFile] = []
    kept_bytes = kept_until = 0
    for start, stop, media_type in islice(_payloads(raw), MAX_FILES):
        file = _read_file(raw, start, stop)
        if file is None:
            continue
        is_escaped, size_bytes, sha256 = file
        kept_bytes += start - kept_until
        chunks.append(raw[kept_until:start])
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
    chunks.append(raw[kept_until:])
    return b"".join(chunks), tuple(files)


def dump_files(files: Sequence[CutFile]) -> str:
    return orjson.dumps([asdict(file) for file in files]).decode()


def load_files(text: str) -> tuple[CutFile, ...]:
    return tuple(CutFile(**file) for file in orjson.loads(text))


def describe_files(body: bytes, files: Sequence[CutFile]) -> bytes:
    """Insert a JSON description for each file, in place of its quotes: the body stays valid JSON."""
    chunks: list[bytes] = []
    copied_until = 0
    for file in files:
        chunks.append(body[copied_until : body.rfind(b'"', copied_until, file.at)])
        chunks.append(orjson.dumps({"media_type": file.media_type, "bytes": file.size_bytes, "sha256": file.sha256}))
        copied_until = file.at + 1
    chunks.append(body[copied_until:])
    return b"".join(chunks)


def _payloads(raw: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the start of possible Base64, the index of the quote after it, and its media type."""
    for quote in islice(_candidates(raw), MAX_CANDIDATES):
        payload = _data_url(raw, quote) if raw.startswith(b'"data:', quote) else _bare_base64(raw, quote)
        if payload is None:
            continue
        start, media_type = payload
        stop = raw.find(b'"', start)
        if stop < 0:
            return
        if media_type is None:
            media_type = _type_beside(raw, quote, stop)
        if media_type is not None and _BINARY_TYPES.fullmatch(media_type):
            yield start, stop, media_type


def _candidates(raw: bytes) -> Iterator[int]:
    """Yield the quotes that begin one of `_MARKERS`: quote by quote where quotes are few, else by regex."""
    for start in range(0, len(raw), _SEARCH_STEP):
        stop = start + _SEARCH_STEP
        quote = start - 1
        for _ in range(_FEW_QUOTES):
            quote = raw.find(b'"', quote + 1, stop)
            if quote < 0:
                break
            if raw.startswith(_MARKERS, quote):
                yield quote
        else:
            for marker in _MARKER.finditer(raw, quote + 1, stop + _LONGEST_MARKER - 1):
                if marker.start() < stop:  # the next step yields the others
                    yield marker.start()


def _data_url(raw: bytes, quote: int) -> tuple[int, str] | None:
    header = _HEADER.match(raw, quote + 1)
    if header is None or not _URL.search(raw, max(0, quote - _HEAD_BYTES), quote + 1):
        return None
    return header.end(), _decode_json_text(header[1]).partition(";")[0].strip() or _DEFAULT_TYPE


def _bare_base64(raw: bytes, quote: int) -> tuple[int, str | None] | None:
    key = _BARE.match(raw, quote)
    if key is None or raw.startswith(b"data:", key.end()):
        return None
    return key.end(), "" if key[1] == b"file_data" else None


def _type_beside(raw: bytes, key: int, stop: int) -> str | None:
    """Return the media type declared right before a key or right after its value; None if there is none."""
    beside = _TYPE_AFTER.match(raw, stop + 1) or _TYPE_BEFORE.search(raw, max(0, key - _HEAD_BYTES), key)
    if beside is None:
        return None
    declared = _decode_json_text(beside[2])
    if beside[1] != b"format":
        return declared or None
    return f"audio/{declared}" if _AUDIO_FORMATS.fullmatch(declared) else None


def _decode_json_text(raw: bytes) -> str:
    return raw.replace(b"\\/", b"/").decode("utf-8", "replace")


def _read_file(raw: bytes, start: int, stop: int) -> tuple[bool, int, str] | None:
    """Return whether slashes are escaped, the size and the hash; None if these could not restore the Base64."""
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
    decoded = b""
    for first in range(0, len(payload), _DECODE_STEP):
        if len(decoded) % 3:  # padding, but not at the end
            return None
        try:
            decoded = binascii.a2b_base64(payload[first : first + _DECODE_STEP], strict_mode=True)
        except ValueError:
            return None
        digest.update(decoded)
        size_bytes += len(decoded)
    if binascii.b2a_base64(decoded[-(len(decoded) % 3 or 3) :], newline=False) != bytes(payload[-4:]):
        return None
    return is_escaped, size_bytes, digest.hexdigest()

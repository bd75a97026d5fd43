"""Images and files inside a request, as `data:` URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from providers.errors import RequestRejectedError

MEDIA_TYPE_OF_SUFFIX: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
}

_ALIASES: Mapping[str, str] = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}
_ALIASED = re.compile(rf"data:({'|'.join(_ALIASES)})(?=[;,])", re.IGNORECASE)
_DATA_URL = re.compile(r"data:(?P<media_type>[\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[^;,]*)*;base64,(?P<data>.+)", re.DOTALL)
_HTTP_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class InlineData:
    """A file inside a request. Shape: `data` is base64."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


def parse_data_url(url: str) -> InlineData | None:
    """Return what a base64 `data:` URL holds, its media type as providers spell it; None for any other."""
    match = _DATA_URL.fullmatch(url)
    if match is None:
        return None
    media_type = match["media_type"].lower()
    return InlineData(_ALIASES.get(media_type, media_type), match["data"])


def find_inline_data(url: str, *, what: str) -> InlineData | None:
    """Return what a `data:` URL holds, None for a file that lies elsewhere.

    Shape: `what` names the file in an error, such as `image`.
    Errors: RequestRejectedError for a URL that is neither.
    """
    if _HTTP_URL.match(url):
        return None
    inline = parse_data_url(url)
    if inline is None:
        raise RequestRejectedError(f"Each {what} must be an http(s) URL or a base64 `data:` URL.", param="messages")
    return inline


def find_media_type(url: str) -> str | None:
    """Guess the media type of a file from the path of its URL."""
    return MEDIA_TYPE_OF_SUFFIX.get(PurePosixPath(re.split("[?#]", url, maxsplit=1)[0]).suffix.lower())


def normalized_url(url: str) -> str:
    """Return the URL of an image, its media type as providers spell it where it is a `data:` URL."""
    alias = _ALIASED.match(url)
    return url if alias is None else f"data:{_ALIASES[alias[1].lower()]}{url[alias.end() :]}"

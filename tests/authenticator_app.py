"""An authenticator app, as people have it on their phone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct


def code_at(key: str, at_s: float) -> str:
    """Return what the app shows: RFC 6238 with its defaults."""
    digest = hmac.new(base64.b32decode(key), struct.pack(">Q", int(at_s) // 30), hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06}"

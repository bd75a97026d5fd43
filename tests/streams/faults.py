"""Answers of providers that streams need and other tests do not."""

from __future__ import annotations

import json
from dataclasses import replace

from tests import fakes
from tests.fakes import Answer, Signal


def long_answer(*, stream_bytes: int, whole_bytes: int = 0) -> fakes.Fault:
    """Answer with about so much, streamed or whole as is asked."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "x" * 65_000}, "finish_reason": None}]}
    piece = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    streamed = fakes.pieces(*[piece] * (stream_bytes // len(piece)), last)
    message = {"role": "assistant", "content": "x" * whole_bytes}
    whole = fakes.body(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode())
    return lambda answer: streamed(answer) if answer.is_chunked else whole(answer)


def stall_in_mid_frame(answer: Answer) -> Answer:
    frame = answer.pieces[2]
    assert isinstance(frame, bytes)
    return replace(answer, pieces=(*answer.pieces[:2], frame[:40], Signal.STALL, frame[40:], *answer.pieces[3:]))


def stall_then_refuse(answer: Answer) -> Answer:
    return replace(fakes.status(500)(answer), before_head=Signal.STALL)

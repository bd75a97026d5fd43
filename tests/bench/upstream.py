"""An instant upstream that speaks OpenAI's chat completions: it answers as soon as the whole request is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson

from tests.bench.cases import (
    ANSWER_TEXT,
    CHUNK_TEXT,
    LARGE,
    LARGE_TEXT,
    MODEL_NAMES,
    PACE_S,
    PACED,
    STREAM_CHUNKS,
    prompt_tokens,
)

CREATED_S = 1_760_000_000
FINGERPRINT = "fp_560af6e559"


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    body = await read(receive)
    if scope["path"].endswith("/models"):
        await answer(send, models())
    elif (question := orjson.loads(body)).get("stream"):
        await stream(send, question)
    else:
        await answer(send, completion(question))


async def live(receive: Any, send: Any) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def read(receive: Any) -> bytes:
    pieces = []
    is_whole = False
    while not is_whole:
        message = await receive()
        pieces.append(message.get("body", b""))
        is_whole = not message.get("more_body", False)
    return b"".join(pieces)


async def answer(send: Any, content: dict[str, Any]) -> None:
    body = orjson.dumps(content)
    await begin(send, b"application/json", (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.body", "body": body})


async def stream(send: Any, question: dict[str, Any]) -> None:
    """Send each chunk by itself: all of them at once, or one every PACE_S, as a model thinks them up."""
    pause_s = PACE_S if question["model"] == PACED else 0
    await begin(send, b"text/event-stream; charset=utf-8")
    for chunk in frames(question["model"]):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(pause_s)
    for chunk in last_frames(question):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def begin(send: Any, content_type: bytes, *headers: tuple[bytes, bytes]) -> None:
    headers = ((b"content-type", content_type), (b"x-request-id", b"req_6f3c1bb2a7e9"), *headers)
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def models() -> dict[str, Any]:
    rows = [{"id": name, "object": "model", "created": CREATED_S, "owned_by": "bench"} for name in MODEL_NAMES]
    return {"object": "list", "data": rows}


def completion(question: dict[str, Any]) -> dict[str, Any]:
    text = LARGE_TEXT if question["model"] == LARGE else ANSWER_TEXT
    message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = usage_of(question, completion_tokens=len(text) // 4)
    return {**head(question["model"], "chat.completion"), "choices": [choice], "usage": usage}


def head(model_name: str, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-CSq3b1TTGYJ0aHv8mRZ5kFzEwq2Xu",
        "object": kind,
        "created": CREATED_S,
        "model": model_name,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def usage_of(question: dict[str, Any], *, completion_tokens: int) -> dict[str, Any]:
    tokens = prompt_tokens(sum(len(message["content"]) for message in question["messages"]))
    return {
        "prompt_tokens": tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


@cache
def frames(model_name: str) -> tuple[bytes, ...]:
    deltas = [{"role": "assistant", "content": "", "refusal": None}, *[{"content": CHUNK_TEXT}] * STREAM_CHUNKS, {}]
    reasons = [*[None] * (STREAM_CHUNKS + 1), "stop"]
    choices = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        for delta, reason in zip(deltas, reasons, strict=True)
    ]
    return tuple(frame(head(model_name, "chat.completion.chunk") | {"choices": [choice]}) for choice in choices)


def last_frames(question: dict[str, Any]) -> Iterator[bytes]:
    if (question.get("stream_options") or {}).get("include_usage"):
        usage = usage_of(question, completion_tokens=STREAM_CHUNKS)
        yield frame({**head(question["model"], "chat.completion.chunk"), "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def frame(content: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(content)

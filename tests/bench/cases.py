"""What is asked in each case, and what a right answer to it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

SMALL, PACED, LARGE = "gpt-4o-mini", "gpt-4o", "gpt-4.1"
MODEL_NAMES = (SMALL, PACED, LARGE)
STREAM_CHUNKS = 100
CHUNK_TEXT = " lorem"
ANSWER_TEXT = "The capital of France is Paris, which has been its seat of government since the tenth century."
LARGE_BYTES = 1_000_000
LARGE_TEXT = "It was the best of times, it was the worst of times. " * (LARGE_BYTES // 53)
PACE_S = 0.005

QUESTION = "What is the capital of France? Answer in one sentence."
INSTRUCTION = "You are a helpful assistant."


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`marks`: what a right answer holds, and how many times; `chunks`: of how many with text its stream is made."""

    name: str
    body: bytes
    marks: Mapping[bytes, int]
    chunks: int = 0


def prompt_tokens(content_bytes: int) -> int:
    """Return what the upstream counts for a request: an answer shows that the whole of it arrived."""
    return content_bytes // 4


def usage_mark(*contents: str) -> bytes:
    return b'"prompt_tokens":%d,' % prompt_tokens(sum(len(content) for content in contents))


def new_case(
    name: str, *, model_name: str = SMALL, question: str = QUESTION, text: str = ANSWER_TEXT, is_stream: bool = False
) -> Case:
    messages = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": question}]
    body = {"model": model_name, "messages": messages, "temperature": 0.7, "max_tokens": 256}
    if is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content = {CHUNK_TEXT.encode(): STREAM_CHUNKS, b"data: [DONE]": 1} if is_stream else {text.encode(): 1}
    return Case(
        name=name,
        body=orjson.dumps(body),
        marks=content | {usage_mark(INSTRUCTION, question): 1},
        chunks=STREAM_CHUNKS if is_stream else 0,
    )


CASES = {
    case.name: case
    for case in (
        new_case("chat"),
        new_case("stream", is_stream=True),
        new_case("stream_paced", is_stream=True, model_name=PACED),
        new_case("body_1mb", question=LARGE_TEXT),
        new_case("answer_1mb", model_name=LARGE, text=LARGE_TEXT),
    )
}

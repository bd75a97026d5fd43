"""The six wire formats as the fake provider speaks them, written from the documented formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from providers.types import ProviderType, Usage

FINISH_REASONS = {
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"},
    "google": {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"},
    "ollama": {"tool_calls": "stop"},
}

SIGNATURE = "CrYBAVKr"
"""What Google demands back with the first call of a turn."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as the fake got it; names of headers in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    json: Any = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of a tool; its id is as the format has them."""

    name: str
    arguments: dict[str, Any]

    @property
    def json(self) -> str:
        return json.dumps(self.arguments)

    @property
    def pieces(self) -> list[str]:
        """The arguments in the pieces that a stream sends: an empty one, then others of three letters each."""
        return ["", *(self.json[start : start + 3] for start in range(0, len(self.json), 3))]


@dataclass(frozen=True, kw_only=True)
class Script:
    """What the fake answers to chats."""

    text: str = "Hello from the fake."
    calls: tuple[ScriptedCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=lambda: Usage(prompt_tokens=9, completion_tokens=5))
    model_names: tuple[str, ...] = ("fake-large", "fake-small")
    page_size: int = 1000

    @property
    def words(self) -> list[str]:
        """The text in the pieces that a stream sends."""
        return self.text.split(" ")[:1] + [f" {word}" for word in self.text.split(" ")[1:]]

    def page(self, start: int, size: int) -> list[str]:
        return list(self.model_names[start : start + min(size, self.page_size)])


class Format:
    """OpenAI's format, which the others state their differences from."""

    base_path = "/v1"
    chat_path = "/chat/completions"
    models_path = "/models"
    stream_type = "text/event-stream"
    done = b"data: [DONE]\n\n"

    def is_stream(self, request: Recorded) -> bool:
        return bool((request.json or {}).get("stream"))

    def is_chat(self, request: Recorded) -> bool:
        return request.path.removeprefix(self.base_path).startswith(self.chat_path)

    def has_key(self, request: Recorded, key: str) -> bool:
        return request.headers.get("authorization") == f"Bearer {key}"

    def call_id(self, number: int) -> str:
        return f"call_{number}"

    def whole(self, script: Script, request: Recorded) -> Any:
        calls = {"tool_calls": self._calls(script)} if script.calls else {}
        message = {"role": "assistant", "content": script.text, **calls}
        return self._completion(
            request,
            object="chat.completion",
            choices=[self._choice(script, message=message)],
            usage=self._usage(script),
        )

    def frames(self, script: Script, request: Recorded) -> list[bytes]:
        """One frame for each word, then those of the end; `done` comes after them."""
        deltas = [*self._text_deltas(script), *self._call_deltas(script)]
        choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
        choices.append([self._choice(script, delta={})])
        frames = [{"choices": choice, "usage": None} for choice in choices]
        if (request.json.get("stream_options") or {}).get("include_usage"):
            frames.append({"choices": [], "usage": self._usage(script)})
        return [sse(self._completion(request, object="chat.completion.chunk", **frame)) for frame in frames]

    def _text_deltas(self, script: Script) -> list[Any]:
        return [{"role": "assistant", "content": ""}, *({"content": word} for word in script.words)]

    def _calls(self, script: Script) -> list[Any]:
        return [self._call(number, call.name, call.json) for number, call in enumerate(script.calls)]

    def _call_deltas(self, script: Script) -> Iterator[Any]:
        for number, call in enumerate(script.calls):
            start = self._call(number, call.name, "")
            yield {"tool_calls": [{"index": number, **start}]}
            for piece in call.pieces:
                yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}

    def _call(self, number: int, name: str, arguments: str) -> Any:
        function = {"name": name, "arguments": arguments}
        return {"id": self.call_id(number), "type": "function", "function": function}

    def _completion(self, request: Recorded, **more: Any) -> Any:
        return {"id": "fake-1", "created": 1790000000, "model": request.json["model"], **more}

    def _choice(self, script: Script, **more: Any) -> Any:
        return {"index": 0, "finish_reason": script.finish_reason, "logprobs": None, **more}

    def _usage(self, script: Script) -> Any:
        usage = script.usage
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        }

    def models(self, script: Script, request: Recorded) -> Any:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in script.model_names]
        return {"object": "list", "data": data}

    def other(self, script: Script, request: Recorded) -> Any:
        """Answer what is neither chat nor model list; None when there is no such path."""
        return None

    def error(self, status: int, message: str, code: str | None = None) -> Any:
        return {"error": {"message": message, "type": "fake_error", "param": None, "code": code}}

    def error_frame(self, message: str) -> bytes:
        return sse(self.error(500, message))

    def bad_frame(self) -> bytes:
        return b'data: {"choices": [{"delta": {"con\n\n'

    def key_error(self) -> tuple[int, Any]:
        return 401, self.error(401, "Incorrect API key provided.", "invalid_api_key")


class MistralFormat(Format):
    def call_id(self, number: int) -> str:
        return f"D681PevK{number}"

    def frames(self, script: Script, request: Recorded) -> list[bytes]:
        """Mistral sends calls whole, and the usage unasked, with the finish reason."""
        deltas = self._text_deltas(script)
        if script.calls:
            calls = [{"index": number, **call} for number, call in enumerate(self._calls(script))]
            deltas.append({"content": "", "tool_calls": calls})
        chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [self._choice(script, delta={"content": ""})], "usage": self._usage(script)})
        return [sse(self._completion(request, object="chat.completion.chunk", **chunk)) for chunk in chunks]

    def models(self, script: Script, request: Recorded) -> Any:
        capabilities = {"completion_chat": True, "function_calling": True, "vision": False}
        data = [
            {"id": name, "object": "model", "capabilities": capabilities, "max_context_length": 32768}
            for name in script.model_names
        ]
        return {"object": "list", "data": data}

    def error(self, status: int, message: str, code: str | None = None) -> Any:
        return {"object": "error", "message": message, "type": "fake", "param": None, "code": code}

    def key_error(self) -> tuple[int, Any]:
        return 401, {"detail": "Unauthorized"}


class AnthropicFormat(Format):
    base_path = ""
    chat_path = "/v1/messages"
    models_path = "/v1/models"
    done = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'

    def has_key(self, request: Recorded, key: str) -> bool:
        return request.headers.get("x-api-key") == key

    def whole(self, script: Script, request: Recorded) -> Any:
        content = [{"type": "text", "text": script.text}, *self._tool_uses(script)]
        return self._message(request, content, self._usage(script), self._stop_reason(script))

    def call_id(self, number: int) -> str:
        return f"toolu_{number}"

    def _tool_uses(self, script: Script) -> list[Any]:
        return [
            {"type": "tool_use", "id": self.call_id(number), "name": call.name, "input": call.arguments}
            for number, call in enumerate(script.calls)
        ]

    def frames(self, script: Script, request: Recorded) -> list[bytes]:
        usage = self._usage(script)
        ending = {"stop_reason": self._stop_reason(script), "stop_sequence": None}
        texts = [{"type": "text_delta", "text": word} for word in script.words]
        events: list[Any] = [
            {"type": "message_start", "message": self._message(request, [], usage | {"output_tokens": 1}, None)},
            *self._block_events(0, {"type": "text", "text": ""}, texts),
            *self._tool_use_events(script),
            {"type": "message_delta", "delta": ending, "usage": usage},
        ]
        return [sse(event, event["type"]) for event in events]

    def _tool_use_events(self, script: Script) -> Iterator[Any]:
        for index, (block, call) in enumerate(zip(self._tool_uses(script), script.calls, strict=True), 1):
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in call.pieces if call.arguments]
            yield from self._block_events(index, {**block, "input": {}}, deltas)

    def _block_events(self, index: int, block: Any, deltas: list[Any]) -> Iterator[Any]:
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        yield {"type": "content_block_stop", "index": index}

    def _message(self, request: Recorded, content: Any, usage: Any, stop_reason: str | None) -> Any:
        return {
            "id": "fake-1",
            "type": "message",
            "role": "assistant",
            "model": request.json["model"],
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def _stop_reason(self, script: Script) -> str:
        return FINISH_REASONS["anthropic"][script.finish_reason]

    def _usage(self, script: Script) -> Any:
        usage = script.usage
        cached_tokens = usage.cached_tokens or 0
        return {
            "input_tokens": usage.prompt_tokens - cached_tokens,
            "cache_read_input_tokens": cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens or 0},
        }

    def models(self, script: Script, request: Recorded) -> Any:
        after = request.query.get("after_id")
        start = script.model_names.index(after) + 1 if after else 0
        names = script.page(start, int(request.query.get("limit", "20")))
        return {
            "data": [{"type": "model", "id": name, "display_name": name} for name in names],
            "has_more": start + len(names) < len(script.model_names),
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }

    def error(self, status: int, message: str, code: str | None = None) -> Any:
        types = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
        error = {"type": types.get(status, "api_error"), "message": message}
        return {"type": "error", "error": error, "request_id": "req_fake"}

    def error_frame(self, message: str) -> bytes:
        return sse(self.error(500, message), "error")

    def bad_frame(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_block_de\n\n'

    def key_error(self) -> tuple[int, Any]:
        return 401, self.error(401, "invalid x-api-key")


class GoogleFormat(Format):
    chat_path = "/models/"
    done = b""

    def is_stream(self, request: Recorded) -> bool:
        return request.path.endswith(":streamGenerateContent")

    def is_chat(self, request: Recorded) -> bool:
        return request.path.endswith("enerateContent")

    def has_key(self, request: Recorded, key: str) -> bool:
        return request.headers.get("x-goog-api-key") == key

    def whole(self, script: Script, request: Recorded) -> Any:
        reason = FINISH_REASONS["google"][script.finish_reason]
        parts = [{"text": script.text}, *self._function_calls(script)]
        return self._generation(request, parts, finishReason=reason) | {"usageMetadata": self._usage(script)}

    def frames(self, script: Script, request: Recorded) -> list[bytes]:
        reason = FINISH_REASONS["google"][script.finish_reason]
        last = self._generation(request, [{"text": ""}], finishReason=reason) | {"usageMetadata": self._usage(script)}
        parts = [*({"text": word} for word in script.words), *self._function_calls(script)]
        return [*(sse(self._generation(request, [part])) for part in parts), sse(last)]

    def _function_calls(self, script: Script) -> list[Any]:
        """Return the parts of the calls, of which the first alone is signed."""
        parts: list[Any] = [
            {"functionCall": {"id": self.call_id(number), "name": call.name, "args": call.arguments}}
            for number, call in enumerate(script.calls)
        ]
        if parts:
            parts[0]["thoughtSignature"] = SIGNATURE
        return parts

    def _generation(self, request: Recorded, parts: list[Any], **more: Any) -> Any:
        content = {"role": "model", "parts": parts}
        model_name = request.path.rpartition("/")[2].partition(":")[0]
        candidates = [{"content": content, "index": 0, **more}]
        return {"candidates": candidates, "modelVersion": model_name, "responseId": "fake-1"}

    def _usage(self, script: Script) -> Any:
        usage = script.usage
        reasoning_tokens = usage.reasoning_tokens or 0
        return {
            "promptTokenCount": usage.prompt_tokens,
            "cachedContentTokenCount": usage.cached_tokens or 0,
            "candidatesTokenCount": usage.completion_tokens - reasoning_tokens,
            "thoughtsTokenCount": reasoning_tokens,
            "totalTokenCount": usage.total_tokens,
        }

    def models(self, script: Script, request: Recorded) -> Any:
        start = int(request.query.get("pageToken", "0"))
        names = script.page(start, int(request.query.get("pageSize", "50")))
        methods = ["generateContent", "countTokens"]
        body: Any = {
            "models": [
                {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods} for name in names
            ]
        }
        if start + len(names) < len(script.model_names):
            body["nextPageToken"] = str(start + len(names))
        return body

    def error(self, status: int, message: str, code: str | None = None) -> Any:
        statuses = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
        return {"error": {"code": status, "message": message, "status": statuses.get(status, "INTERNAL")}}

    def key_error(self) -> tuple[int, Any]:
        body = self.error(400, "API key not valid. Please pass a valid API key.")
        body["error"]["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
        ]
        return 400, body

    def bad_frame(self) -> bytes:
        return b'data: {"candidates": [{"content"\n\n'


class OllamaFormat(Format):
    base_path = ""
    chat_path = "/api/chat"
    models_path = "/api/tags"
    stream_type = "application/x-ndjson"
    done = b""

    def is_stream(self, request: Recorded) -> bool:
        return bool(request.json.get("stream", True))

    def whole(self, script: Script, request: Recorded) -> Any:
        return self._line(request, script.text, **self._message_calls(script)) | self._ending(script)

    def frames(self, script: Script, request: Recorded) -> list[bytes]:
        lines = [self._line(request, word) for word in script.words]
        if script.calls:
            lines.append(self._line(request, "", **self._message_calls(script)))
        lines.append(self._line(request, "") | self._ending(script))
        return [json.dumps(line).encode() + b"\n" for line in lines]

    def _message_calls(self, script: Script) -> Any:
        calls = [
            {"id": self.call_id(n), "function": {"index": n, "name": call.name, "arguments": call.arguments}}
            for n, call in enumerate(script.calls)
        ]
        return {"tool_calls": calls} if calls else {}

    def _line(self, request: Recorded, text: str, **more: Any) -> Any:
        message = {"role": "assistant", "content": text, **more}
        return {
            "model": request.json["model"],
            "created_at": "2026-11-22T10:00:00Z",
            "message": message,
            "done": False,
        }

    def _ending(self, script: Script) -> Any:
        counts = {"prompt_eval_count": script.usage.prompt_tokens, "eval_count": script.usage.completion_tokens}
        reason = FINISH_REASONS["ollama"].get(script.finish_reason, script.finish_reason)
        return {"done": True, "done_reason": reason, "total_duration": 1, **counts}

    def models(self, script: Script, request: Recorded) -> Any:
        return {"models": [{"name": name, "model": name, "size": 1, "details": {}} for name in script.model_names]}

    def other(self, script: Script, request: Recorded) -> Any:
        return {"version": "0.99.0"} if request.path == "/api/version" else None

    def error(self, status: int, message: str, code: str | None = None) -> Any:
        return {"error": message}

    def error_frame(self, message: str) -> bytes:
        return json.dumps(self.error(500, message)).encode() + b"\n"

    def bad_frame(self) -> bytes:
        return b'{"model": "fake-large", "mess\n'

    def key_error(self) -> tuple[int, Any]:
        return 401, self.error(401, "unauthorized")


def sse(data: Any, event: str | None = None) -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


FORMATS: dict[ProviderType, Format] = {
    ProviderType.OLLAMA: OllamaFormat(),
    ProviderType.OPENAI: Format(),
    ProviderType.ANTHROPIC: AnthropicFormat(),
    ProviderType.GOOGLE: GoogleFormat(),
    ProviderType.MISTRAL: MistralFormat(),
    ProviderType.CUSTOM: Format(),
}

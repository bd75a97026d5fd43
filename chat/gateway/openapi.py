"""The chat endpoints in the OpenAPI schema: they are plain Django views, which DRF's generator does not see."""

from __future__ import annotations

from typing import Any

from providers.wire.openai_chat_schema import MAX_MODEL_NAME_CHARS

JSON = "application/json"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}


def or_null(schema: Schema) -> Schema:
    return {**schema, "nullable": True}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def listed(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(*required: str, **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


MESSAGE = record(
    "role",
    role={"type": "string", "enum": ["system", "developer", "user", "assistant", "tool", "function"]},
    content={"oneOf": [TEXT, listed(ANY_OBJECT)], "nullable": True, "description": "Text, or a list of parts."},
    tool_calls=listed(ANY_OBJECT),
    tool_call_id=TEXT,
)
SAMPLING: dict[str, Schema] = {
    "model": {
        **TEXT,
        "maxLength": MAX_MODEL_NAME_CHARS,
        "description": "A model, `provider/model`, or nothing: the default provider's default model.",
    },
    "stream": {**FLAG, "default": False},
    "temperature": NUMBER,
    "top_p": NUMBER,
    "top_k": WHOLE,
    "max_tokens": {**WHOLE, "minimum": 1},
    "stop": {"oneOf": [TEXT, listed(TEXT)]},
    "seed": WHOLE,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "n": {**WHOLE, "minimum": 1},
    "tools": listed(ANY_OBJECT),
    "tool_choice": {"oneOf": [TEXT, ANY_OBJECT]},
    "parallel_tool_calls": FLAG,
    "response_format": ANY_OBJECT,
    "reasoning_effort": TEXT,
    "user": TEXT,
}
ATTEMPT = record(
    "provider",
    "model",
    "ok",
    "latency_ms",
    provider=TEXT,
    model=TEXT,
    ok=FLAG,
    error_type=or_null(TEXT),
    error=or_null(TEXT),
    upstream_status=or_null(WHOLE),
    latency_ms=WHOLE,
)
HUB_USAGE = record(
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    prompt_tokens=WHOLE,
    completion_tokens=WHOLE,
    total_tokens=WHOLE,
    cached_tokens=or_null(WHOLE),
    reasoning_tokens=or_null(WHOLE),
    source={"type": "string", "enum": ["provider", "estimated"]},
)
OPENAI_USAGE = record(
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    prompt_tokens=WHOLE,
    completion_tokens=WHOLE,
    total_tokens=WHOLE,
    prompt_tokens_details=record(cached_tokens=WHOLE),
    completion_tokens_details=record(reasoning_tokens=WHOLE),
)
SCHEMAS: dict[str, Schema] = {
    "HubChatRequest": {
        **record(
            message={**TEXT, "description": "One turn of the user; or send `messages`."},
            messages=listed(ref("ChatTurn")),
            provider={**TEXT, "description": "Ask this provider alone."},
            **SAMPLING,
        ),
        "description": "Either `message` or `messages` is needed. What is not named here is passed on.",
    },
    "HubChatAnswer": record(
        "id",
        "content",
        "model",
        "provider",
        "attempts",
        id={**TEXT, "format": "uuid"},
        content=TEXT,
        model=TEXT,
        provider=TEXT,
        tokens_used=or_null(WHOLE),
        usage=or_null(HUB_USAGE),
        finish_reason=or_null(TEXT),
        latency_ms=WHOLE,
        cost_usd={**or_null(NUMBER), "description": "Null where the price is not known."},
        attempts=listed(ATTEMPT),
        tool_calls=listed(ANY_OBJECT),
    ),
    "ChatTurn": MESSAGE,
    "ChatCompletionRequest": record(
        "messages",
        messages={**listed(ref("ChatTurn")), "minItems": 1},
        stream_options=record(include_usage=FLAG),
        **SAMPLING,
    ),
    "ChatCompletion": record(
        "id",
        "object",
        "created",
        "model",
        "choices",
        id=TEXT,
        object={"type": "string", "enum": ["chat.completion"]},
        created=WHOLE,
        model=TEXT,
        choices=listed(
            record(
                "index",
                "message",
                "finish_reason",
                index=WHOLE,
                message=record(
                    "role",
                    role=TEXT,
                    content=or_null(TEXT),
                    refusal=or_null(TEXT),
                    reasoning_content=TEXT,
                    tool_calls=listed(ANY_OBJECT),
                ),
                finish_reason=TEXT,
                logprobs=or_null(ANY_OBJECT),
            )
        ),
        usage=or_null(OPENAI_USAGE),
    ),
    "Model": record(
        "id",
        "object",
        "created",
        "owned_by",
        id={**TEXT, "description": "`provider/model`"},
        object={"type": "string", "enum": ["model"]},
        created=WHOLE,
        owned_by=TEXT,
        type=TEXT,
        display_name=TEXT,
        created_at={**TEXT, "format": "date-time"},
    ),
    "ModelList": record(
        "object",
        "data",
        object={"type": "string", "enum": ["list"]},
        data=listed(ref("Model")),
        has_more=FLAG,
        first_id=or_null(TEXT),
        last_id=or_null(TEXT),
    ),
}

CHAT_FAILURES = {
    "400": "The request is at fault; `param` names the field.",
    "401": "No API key, or one that is not in force.",
    "403": "The key does not allow this.",
    "404": "No provider here has the model.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "The provider has no room now; see `retry-after`.",
    "502": "The provider failed.",
    "503": "No provider can be asked now, or the chat could not be recorded.",
    "504": "The provider did not answer in time.",
    "508": "The request has come through this hub before.",
}
BODY_FAILURES = {code: CHAT_FAILURES[code] for code in ("408", "413", "415")}
COMMON_FAILURES = {
    "406": "JSON is not accepted.",
    "431": "URL and headers are too large.",
    "503": "The database cannot be reached.",
}
READ_FAILURES = {code: CHAT_FAILURES[code] for code in ("401", "403")}
REQUEST_HEADERS = {
    "x-llmhub-user": "The end user on whose behalf this is.",
    "x-llmhub-conversation": "The conversation that this belongs to.",
    "x-llmhub-timeout-s": "Seconds after which to give up.",
    "x-llmhub-no-fallback": "`1`: ask the first provider alone.",
}
ANSWER_HEADERS = {
    "x-request-id": "The chat's id.",
    "x-llmhub-provider": "The provider that answered, or was asked last.",
    "x-llmhub-model": "The model there.",
    "x-llmhub-attempts": "How many providers were asked.",
    "x-llmhub-cost-usd": "What it cost, where that is known before the answer is sent.",
    "x-llmhub-overhead-ms": "Milliseconds spent in the hub.",
    "x-llmhub-dropped-params": "Parameters that the provider cannot take.",
}
SECURITY: list[dict[str, list[str]]] = [{"apiKey": []}]


def failures(described: dict[str, str]) -> dict[str, Schema]:
    return {
        code: {"description": text, "content": {JSON: {"schema": ref("Error")}}} for code, text in described.items()
    }


def header(name: str, description: str) -> Schema:
    return {"in": "header", "name": name, "schema": TEXT, "description": description}


def chat_operation(operation_id: str, summary: str, *, asks: str, answers: str, frames: str) -> Schema:
    whole = {
        "description": "The answer; with `stream`, server-sent events.",
        "headers": {name: {"description": text, "schema": TEXT} for name, text in ANSWER_HEADERS.items()},
        "content": {
            JSON: {"schema": ref(answers)},
            "text/event-stream": {"schema": {**TEXT, "description": frames}},
        },
    }
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["chat"],
        "security": SECURITY,
        "parameters": [header(name, text) for name, text in REQUEST_HEADERS.items()],
        "requestBody": {"required": True, "content": {JSON: {"schema": ref(asks)}}},
        "responses": {"200": whole, **failures(CHAT_FAILURES)},
    }


def read_operation(
    operation_id: str, summary: str, *, answers: str, parameters: list[Schema], described: dict[str, str]
) -> Schema:
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["chat"],
        "security": SECURITY,
        "parameters": parameters,
        "responses": {
            "200": {"description": "", "content": {JSON: {"schema": ref(answers)}}},
            **failures(described),
        },
    }


PATHS: dict[str, Schema] = {
    "/api/chat/multi": {
        "post": chat_operation(
            "chat_multi",
            "Chat in the hub's own shape",
            asks="HubChatRequest",
            answers="HubChatAnswer",
            frames="Events `chunk` with `id` and `content`, then `done` with the whole answer, or `error`.",
        )
    },
    "/v1/chat/completions": {
        "post": chat_operation(
            "chat_completions",
            "Chat in OpenAI's shape",
            asks="ChatCompletionRequest",
            answers="ChatCompletion",
            frames="OpenAI's `chat.completion.chunk` objects, then `[DONE]`.",
        )
    },
    "/v1/models": {
        "get": read_operation(
            "models_list",
            "List the models that the caller may use",
            answers="ModelList",
            parameters=[
                {"in": "query", "name": "limit", "schema": {**WHOLE, "minimum": 1, "maximum": 1000}},
                {"in": "query", "name": "after_id", "schema": TEXT},
            ],
            described=READ_FAILURES,
        )
    },
    "/v1/models/{model_id}": {
        "get": read_operation(
            "models_retrieve",
            "Show a model",
            answers="Model",
            parameters=[{"in": "path", "name": "model_id", "required": True, "schema": TEXT}],
            described=READ_FAILURES | {"404": CHAT_FAILURES["404"]},
        )
    },
}


def add_common_failures(result: Schema, **_: Any) -> Schema:
    """A hook of drf-spectacular: name the refusals that are no view's own."""
    for operations in result["paths"].values():
        for operation in operations.values():
            common = COMMON_FAILURES | (BODY_FAILURES if "requestBody" in operation else {})
            operation["responses"] = dict(sorted({**failures(common), **operation["responses"]}.items()))
    return result


def add_chat_endpoints(result: Schema, **_: Any) -> Schema:
    """A hook of drf-spectacular."""
    result["paths"] = dict(sorted({**result["paths"], **PATHS}.items()))
    result["components"]["schemas"] |= SCHEMAS
    return result

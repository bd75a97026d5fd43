"""Reading chat requests: JSON in, `ChatRequest` out, every fault with the name of its field."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, cast, get_args

import orjson

from llmhub.http.parsers import json_fault
from providers.types import (
    NOTHING,
    ChatMessage,
    ChatRequest,
    ContentPart,
    Extra,
    ImagePart,
    JSONObject,
    OpaquePart,
    Role,
    TextPart,
    ToolCall,
)
from providers.wire.validation import BadRequestError

ROLES = frozenset(get_args(Role))

ROUTING_FIELDS = frozenset(
    {
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "endpoint",
        "extra_headers",
        "proxy",
    }
)
MODEL_FIELDS = frozenset({"models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "route"})
"""What names further models to providers that choose among several themselves."""

EXTENSION_OBJECTS = frozenset(
    {
        "extra_body",
        "extra_query",
        "fallbacks",
        "litellm_params",
        "model_kwargs",
        "model_list",
        "provider_options",
        "user_config",
    }
)
MAX_MODEL_NAME_CHARS = 512
TYPED = frozenset(
    {
        "messages", "model", "temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "presence_penalty",
        "frequency_penalty", "n", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
        "user", "stream", "stream_options",
    }
)  # fmt: skip


def read_json(body: bytes) -> JSONObject:
    """Errors: BadRequestError unless the body is one JSON object."""
    if not body:
        raise BadRequestError("The body is empty; a JSON object is needed.", code="invalid_json")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(json_fault(error), code="invalid_json") from None
    if not isinstance(value, dict):
        raise BadRequestError(f"The body must be a JSON object, not {json_type(value)}.", code="invalid_json")
    return value


def refuse_routing_fields(body: JSONObject) -> None:
    """Refuse what would choose the provider's address or key: these come from the hub's configuration alone.

    Errors: BadRequestError for such a field at the top level, or at any depth of an extension object.
    """
    _refuse(body, ROUTING_FIELDS, ROUTING_FIELDS)


def refuse_model_fields(body: Extra) -> None:
    """Refuse what would name more models than the one that was judged.

    Errors: as `refuse_routing_fields`.
    """
    _refuse(body, MODEL_FIELDS, MODEL_FIELDS | {"model"})


def _refuse(body: Extra, at_the_top: frozenset[str], inside: frozenset[str]) -> None:
    for name in _named(body, at_the_top):
        raise BadRequestError(f"`{name}` cannot be set by a caller.", param=name, code="forbidden_parameter")
    for holder in _named(body, EXTENSION_OBJECTS):
        if field := _find_inside(body[holder], inside):
            raise BadRequestError(
                f"`{field}` in `{holder}` cannot be set by a caller.",
                param=f"{holder}.{field}",
                code="forbidden_parameter",
            )


def _named(wire: Extra, names: frozenset[str]) -> list[str]:
    """Return the fields with one of these names, in whatever case, and with or without marks between the words."""
    plain = _without_marks(names)
    return [name for name in wire if name.replace("_", "").replace("-", "").lower() in plain]


@cache
def _without_marks(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.replace("_", "") for name in names)


def _find_inside(value: Any, names: frozenset[str]) -> str | None:
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict):
            if found := _named(inner, names):
                return min(found)
            pending += inner.values()
        elif isinstance(inner, list):
            pending += inner
    return None


def read_chat_request(
    body: JSONObject, *, messages: tuple[ChatMessage, ...] | None = None, more: Iterable[str] = ()
) -> ChatRequest:
    """Translate OpenAI's chat body.

    Shape: `messages`, when given, stands for the body's own; `more` names further keys that are the dialect's
    and not parameters. What no field of ChatRequest holds goes to `extra`.
    Errors: BadRequestError with the field's path.
    """
    return ChatRequest(
        messages=messages or read_messages(body.get("messages")),
        model_name=_read_model_name(body),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        top_k=integer(body, "top_k"),
        max_tokens=integer(body, "max_tokens", least=1),
        stop=_read_stop(body.get("stop")),
        seed=integer(body, "seed"),
        presence_penalty=number(body, "presence_penalty"),
        frequency_penalty=number(body, "frequency_penalty"),
        n=integer(body, "n", least=1),
        tools=objects(body, "tools"),
        tool_choice=_read_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=boolean(body, "parallel_tool_calls"),
        response_format=mapping(body, "response_format"),
        reasoning_effort=text(body, "reasoning_effort"),
        user=text(body, "user"),
        extra=_extra(body, more),
    )


def _read_model_name(body: JSONObject) -> str:
    """Bound what stands in URLs, headers and every chunk of an answer."""
    name = text(body, "model") or ""
    if len(name) > MAX_MODEL_NAME_CHARS:
        raise BadRequestError(f"`model` must have at most {MAX_MODEL_NAME_CHARS} characters.", param="model")
    return name


def _extra(body: JSONObject, more: Iterable[str]) -> Extra:
    extra = {key: value for key, value in body.items() if key not in TYPED and key not in more}
    options = {k: v for k, v in (mapping(body, "stream_options") or NOTHING).items() if k != "include_usage"}
    if options:
        extra["stream_options"] = options
    return extra or NOTHING


def read_messages(value: Any) -> tuple[ChatMessage, ...]:
    """Errors: BadRequestError unless it is a list with at least one message."""
    if value is None:
        raise BadRequestError("`messages` is missing.", param="messages", code="missing_parameter")
    if not isinstance(value, list) or not value:
        raise BadRequestError("`messages` must be a list with at least one message.", param="messages")
    return tuple(_find_plain(item) or _read_message(item, f"messages[{i}]") for i, item in enumerate(value))


def _find_plain(item: Any) -> ChatMessage | None:
    """Return a message of nothing but role and text, as most are, without a look at what it does not have."""
    if not isinstance(item, dict) or len(item) != 2:
        return None
    role, content = item.get("role"), item.get("content")
    if not isinstance(content, str) or not isinstance(role, str) or role not in ROLES:
        return None
    return ChatMessage(role=cast("Role", role), content=content)


def _read_message(item: Any, path: str) -> ChatMessage:
    if not isinstance(item, dict):
        raise BadRequestError(f"`{path}` must be an object, not {json_type(item)}.", param=path)
    rest = dict(item)
    role = rest.pop("role", None)
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequestError(f"`{path}.role` must be one of {', '.join(sorted(ROLES))}.", param=f"{path}.role")
    content = _read_content(rest.pop("content", None), f"{path}.content")
    tool_calls = _read_tool_calls(rest.pop("tool_calls", None), f"{path}.tool_calls")
    if content is None and not tool_calls and role != "assistant":
        raise BadRequestError(f"`{path}.content` is missing.", param=f"{path}.content")
    call_id = rest.pop("tool_call_id", None)
    if call_id is not None and not isinstance(call_id, str):
        raise BadRequestError(f"`{path}.tool_call_id` must be a string.", param=f"{path}.tool_call_id")
    return ChatMessage(
        role=cast("Role", role), content=content, tool_calls=tool_calls, tool_call_id=call_id, extra=rest or NOTHING
    )


def _read_content(value: Any, path: str) -> str | tuple[ContentPart, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRequestError(f"`{path}` must be a string or a list of parts, not {json_type(value)}.", param=path)
    return tuple(_read_part(part, f"{path}[{i}]") for i, part in enumerate(value))


def _read_part(part: Any, path: str) -> ContentPart:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise BadRequestError(f"`{path}` must be an object with a `type`.", param=path)
    if part["type"] == "text":
        return _read_text_part(part, path)
    return _read_image_part(part, path) if part["type"] == "image_url" else OpaquePart(part)


def _read_text_part(part: JSONObject, path: str) -> TextPart:
    if not isinstance(part.get("text"), str):
        raise BadRequestError(f"`{path}.text` must be a string.", param=f"{path}.text")
    return TextPart(part["text"], _without(part, "type", "text"))


def _read_image_part(part: JSONObject, path: str) -> ImagePart | OpaquePart:
    """Return the image; one with more to it than the hub translates stays as it came."""
    image = part.get("image_url")
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise BadRequestError(f"`{path}.image_url.url` must be a string.", param=f"{path}.image_url.url")
    is_plain = part.keys() == {"type", "image_url"} and image.keys() <= {"url", "detail"}
    if not is_plain or not isinstance(image.get("detail", ""), str):
        return OpaquePart(part)
    return ImagePart(image["url"], image.get("detail"))


def _without(wire: JSONObject, *keys: str) -> Extra:
    return {key: value for key, value in wire.items() if key not in keys} or NOTHING


def _read_tool_calls(value: Any, path: str) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadRequestError(f"`{path}` must be a list.", param=path)
    return tuple(_read_tool_call(call, f"{path}[{i}]") for i, call in enumerate(value))


def _read_tool_call(call: Any, path: str) -> ToolCall:
    """Return the call; one of a kind that the hub does not translate has its wire object as `extra`."""
    if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not isinstance(call.get("type"), str):
        raise BadRequestError(f"`{path}` must be an object with `id`, `type` and `function`.", param=path)
    function = call.get("function")
    if call["type"] != "function":
        return ToolCall(call["id"], "", "", call)
    if not isinstance(function, dict) or not all(isinstance(function.get(k), str) for k in ("name", "arguments")):
        raise BadRequestError(
            f"`{path}.function` must be an object with `name` and `arguments`, both strings.", param=f"{path}.function"
        )
    if not function["name"] or function.keys() != {"name", "arguments"}:
        return ToolCall(call["id"], "", "", call)
    return ToolCall(call["id"], function["name"], function["arguments"], _without(call, "id", "type", "function"))


def _read_stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise BadRequestError("`stop` must be a string or a list of strings.", param="stop")


def _read_tool_choice(value: Any) -> str | Extra | None:
    if value is None or isinstance(value, str | dict):
        return value
    raise BadRequestError("`tool_choice` must be a string or an object.", param="tool_choice")


def text(body: JSONObject, name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadRequestError(f"`{name}` must be a string, not {json_type(value)}.", param=name)


def number(body: JSONObject, name: str) -> float | None:
    value = body.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise BadRequestError(f"`{name}` must be a number, not {json_type(value)}.", param=name)


def integer(body: JSONObject, name: str, *, least: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequestError(f"`{name}` must be a whole number, not {json_type(value)}.", param=name)
    if least is not None and value < least:
        raise BadRequestError(f"`{name}` must be at least {least}.", param=name)
    return value


def boolean(body: JSONObject, name: str) -> bool | None:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise BadRequestError(f"`{name}` must be true or false, not {json_type(value)}.", param=name)


def mapping(body: JSONObject, name: str) -> JSONObject | None:
    value = body.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise BadRequestError(f"`{name}` must be an object, not {json_type(value)}.", param=name)


def objects(body: JSONObject, name: str) -> tuple[Extra, ...]:
    value = body.get(name)
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return tuple(value)
    raise BadRequestError(f"`{name}` must be a list of objects.", param=name)


def json_type(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a number")

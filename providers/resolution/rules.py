"""The rules by which a candidate is excluded, each a function of what was asked, by whom, and the candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llmhub.access.principals import Principal
from providers.resolution.plan import Candidate, Exclusion
from providers.types import ChatRequest, ImagePart, Part, ToolResultPart

Rule = Callable[[ChatRequest, Principal | None, Candidate], Exclusion | None]


def provider_is_enabled(_request: ChatRequest, _principal: Principal | None, candidate: Candidate) -> Exclusion | None:
    return None if candidate.provider.enabled else Exclusion(candidate, "provider_disabled", "is disabled")


def model_is_named(_request: ChatRequest, _principal: Principal | None, candidate: Candidate) -> Exclusion | None:
    return None if candidate.model_name else Exclusion(candidate, "no_default_model", "has no default model")


def model_is_listed(_request: ChatRequest, _principal: Principal | None, candidate: Candidate) -> Exclusion | None:
    """A provider that serves only what it lists must list the model."""
    provider, model_name = candidate.provider, candidate.model_name
    if not provider.serves_only_listed or model_name in provider.models:
        return None
    return Exclusion(candidate, "model_not_listed", f"does not have the model `{model_name}`")


def model_is_enabled(_request: ChatRequest, _principal: Principal | None, candidate: Candidate) -> Exclusion | None:
    if not candidate.provider.forbids(candidate.model_name):
        return None
    return Exclusion(candidate, "model_disabled", f"has the model `{candidate.model_name}` switched off")


def key_allows_model(_request: ChatRequest, principal: Principal | None, candidate: Candidate) -> Exclusion | None:
    if principal is None or principal.may_use(candidate.provider.name, candidate.model_name):
        return None
    return Exclusion(candidate, "not_allowed_to_key", "is not allowed to this API key")


def model_is_capable(request: ChatRequest, _principal: Principal | None, candidate: Candidate) -> Exclusion | None:
    """A model must take what the request holds, where it is known what the model takes."""
    model = candidate.provider.models.get(candidate.model_name)
    if model is None or not model.capabilities:
        return None
    if request.tools and "tools" not in model.capabilities:
        return Exclusion(candidate, "model_lacks_tools", f"takes no tools with the model `{model.name}`")
    if "vision" not in model.capabilities and any(_has_image(message.parts) for message in request.messages):
        return Exclusion(candidate, "model_lacks_vision", f"takes no images with the model `{model.name}`")
    return None


def _has_image(parts: Iterable[Part]) -> bool:
    return any(
        isinstance(part, ImagePart) or (isinstance(part, ToolResultPart) and _has_image(part.parts)) for part in parts
    )


RULES: tuple[Rule, ...] = (
    provider_is_enabled,
    model_is_named,
    model_is_listed,
    model_is_enabled,
    key_allows_model,
    model_is_capable,
)
"""In this order: the first that excludes a candidate says why."""

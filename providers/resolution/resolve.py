"""From a request to a plan: which providers a chat is tried at, in which order, and why others are not."""

from __future__ import annotations

from llmhub.access.principals import NotPermittedError, Principal
from providers.errors import ModelNotServedError, NoProviderError, UnsupportedRequestError
from providers.resolution.plan import Candidate, Exclusion, ExclusionCode, Plan
from providers.resolution.rules import RULES
from providers.snapshot import ProviderEntry, ProviderSnapshot
from providers.types import ChatRequest

_PARAM_OF_LACK: dict[ExclusionCode, str] = {"model_lacks_tools": "tools", "model_lacks_vision": "messages"}


def resolve(
    request: ChatRequest, principal: Principal | None, snapshot: ProviderSnapshot, *, provider: str | None = None
) -> Plan:
    """Resolve what a caller asked for; `provider` is the one named apart from the model.

    Errors: ModelNotServedError for a provider or model that does not exist here; UnsupportedRequestError where the
    models known would not take the request; NotPermittedError when the key allows none of the candidates, or their
    models are switched off; NoProviderError when all providers are switched off or know no model.
    """
    wanted = _wanted(request.model_name, provider, snapshot)
    candidates: list[Candidate] = []
    exclusions: list[Exclusion] = []
    for candidate in wanted:
        for rule in RULES:
            if (exclusion := rule(request, principal, candidate)) is not None:
                exclusions.append(exclusion)
                break
        else:
            candidates.append(candidate)
    if not candidates:
        raise _refusal(exclusions)
    return Plan(tuple(sorted(candidates, key=_is_unhealthy)), tuple(exclusions))


def _wanted(model_name: str, provider: str | None, snapshot: ProviderSnapshot) -> list[Candidate]:
    """Return the candidates that what was asked for names, in the order of the configuration."""
    named, model = _split(model_name, provider, snapshot)
    if named is not None:
        return [Candidate(named, model or named.default_model)]
    if not model:
        return [Candidate(entry, entry.default_model) for entry in snapshot.in_order]
    wanted = [Candidate(entry, model) for entry in snapshot.in_order if _has(entry, model)]
    if not wanted:
        raise _not_served(f"The model `{model}` is served by no provider here.")
    return wanted


def _split(model_name: str, provider: str | None, snapshot: ProviderSnapshot) -> tuple[ProviderEntry | None, str]:
    """Return the provider that is named, if one is, and the model without its name."""
    if provider:
        if provider not in snapshot.providers:
            raise ModelNotServedError(
                f"There is no provider named `{provider}`.", code="provider_not_found", param="provider"
            )
        return snapshot.providers[provider], model_name.removeprefix(f"{provider}/")
    prefix, slash, rest = model_name.partition("/")
    if slash and rest and prefix in snapshot.providers:
        return snapshot.providers[prefix], rest
    return None, model_name


def _has(entry: ProviderEntry, model_name: str) -> bool:
    model = entry.models.get(model_name)
    return model_name == entry.default_model or (model is not None and model.listed)


def _is_unhealthy(candidate: Candidate) -> bool:
    return candidate.provider.is_unhealthy


def _not_served(words: str) -> ModelNotServedError:
    return ModelNotServedError(words, code="model_not_found", param="model")


def _refusal(
    exclusions: list[Exclusion],
) -> ModelNotServedError | NoProviderError | NotPermittedError | UnsupportedRequestError:
    """Return what a caller is told whose candidates are all excluded: what came nearest to an answer."""
    by_code = {exclusion.code: exclusion for exclusion in exclusions}
    for code, param in _PARAM_OF_LACK.items():
        if code in by_code:
            lacks = "; ".join([str(exclusion) for exclusion in exclusions if exclusion.code in _PARAM_OF_LACK])
            return UnsupportedRequestError(f"No provider here can take this request: {lacks}.", param=param)
    if "not_allowed_to_key" in by_code:
        words = "This API key does not allow this provider or model."
        return NotPermittedError(words, code="model_not_allowed", param="model")
    if disabled := by_code.get("model_disabled"):
        words = f"The model `{disabled.candidate.model_name}` is switched off here."
        return NotPermittedError(words, code="model_not_allowed", param="model")
    if exclusions and by_code.keys() == {"model_not_listed"}:
        first = exclusions[0].candidate
        return _not_served(f"{first.provider.name} does not have the model `{first.model_name}`.")
    if not exclusions:
        return NoProviderError("No provider is configured.")
    return NoProviderError(f"No provider can be asked: {'; '.join(map(str, exclusions))}.")

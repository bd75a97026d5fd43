"""Which providers a chat is tried at, in which order, and why others are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmhub.access.principals import NotPermittedError
from providers.errors import ModelNotServedError, NoProviderError
from providers.snapshot import ProviderEntry, ProviderSnapshot
from providers.types import Price

MayUse = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    provider: ProviderEntry
    model_name: str

    @property
    def is_served(self) -> bool:
        """Whether the provider may have the model: one that serves only what it lists must list it."""
        return not (
            self.provider.serves_only_listed and self.model_name and self.model_name not in self.provider.models
        )

    @property
    def is_forbidden(self) -> bool:
        return self.provider.forbids(self.model_name)

    @property
    def price(self) -> Price:
        model = self.provider.models.get(self.model_name)
        return model.price if model else Price()


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a chat may be tried.

    Shape: `candidates` in the order of trying, never empty; `left_out` says in words which were not
    taken and why.
    """

    candidates: tuple[Candidate, ...]
    left_out: tuple[str, ...] = ()


def plan(snapshot: ProviderSnapshot, *, provider: str | None, model_name: str, may_use: MayUse) -> Plan:
    """Resolve what a caller asked for.

    Errors: ModelNotServedError for a provider or model that does not exist here; NotPermittedError when
    the key allows none of the candidates, or their models are switched off; NoProviderError when all
    providers are switched off or know no model.
    """
    named, model = _split(model_name, provider, snapshot=snapshot)
    if named is not None:
        wanted = [Candidate(named, model or named.default_model)]
    elif model:
        wanted = [Candidate(entry, model) for entry in snapshot.in_order if _has(entry, model)]
    else:
        wanted = [Candidate(entry, entry.default_model) for entry in snapshot.in_order]
    if not wanted and model:
        raise ModelNotServedError(
            f"The model `{model}` is served by no provider here.", code="model_not_found", param="model"
        )
    if wanted and not any(candidate.is_served for candidate in wanted):
        raise ModelNotServedError(
            f"{wanted[0].provider.name} does not have the model `{wanted[0].model_name}`.",
            code="model_not_found",
            param="model",
        )
    return _usable(wanted, may_use)


def _split(model_name: str, provider: str | None, *, snapshot: ProviderSnapshot) -> tuple[ProviderEntry | None, str]:
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


def _usable(wanted: list[Candidate], may_use: MayUse) -> Plan:
    left_out: list[str] = []
    usable: list[Candidate] = []
    for candidate in wanted:
        reason = _unusable(candidate)
        if reason:
            left_out.append(f"{candidate.provider.name} {reason}")
        else:
            usable.append(candidate)
    permitted = [c for c in usable if may_use(c.provider.name, c.model_name)]
    if usable and not permitted:
        raise NotPermittedError(
            "This API key does not allow this provider or model.", code="model_not_allowed", param="model"
        )
    if not permitted:
        raise _nothing_left(wanted, left_out)
    left_out += [f"{c.provider.name} is not allowed to this API key" for c in usable if c not in permitted]
    return Plan(tuple(sorted(permitted, key=_is_unhealthy)), tuple(left_out))


def _unusable(candidate: Candidate) -> str:
    provider = candidate.provider
    if not provider.enabled:
        return "is disabled"
    if not candidate.model_name:
        return "has no default model"
    if not candidate.is_served:
        return f"does not have the model `{candidate.model_name}`"
    if candidate.is_forbidden:
        return f"has the model `{candidate.model_name}` switched off"
    return ""


def _nothing_left(wanted: list[Candidate], left_out: list[str]) -> NotPermittedError | NoProviderError:
    if not wanted:
        return NoProviderError("No provider is configured.")
    switched_off = [c for c in wanted if c.provider.enabled and c.is_forbidden]
    if switched_off:
        words = f"The model `{switched_off[0].model_name}` is switched off here."
        return NotPermittedError(words, code="model_not_allowed", param="model")
    return NoProviderError(f"No provider can be asked: {'; '.join(left_out)}.")


def _is_unhealthy(candidate: Candidate) -> bool:
    return candidate.provider.is_unhealthy

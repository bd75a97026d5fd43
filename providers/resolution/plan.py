"""What a resolution comes to: where a chat may be tried, and why not elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from providers.snapshot import ProviderEntry
from providers.types import Price

ExclusionCode = Literal[
    "provider_disabled",
    "no_default_model",
    "model_not_listed",
    "model_disabled",
    "not_allowed_to_key",
    "model_lacks_tools",
    "model_lacks_vision",
]


@dataclass(frozen=True, slots=True)
class Candidate:
    provider: ProviderEntry
    model_name: str

    @property
    def price(self) -> Price:
        model = self.provider.models.get(self.model_name)
        return model.price if model else Price()


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a candidate is not tried. Shape: `words` follow the provider's name."""

    candidate: Candidate
    code: ExclusionCode
    words: str

    def __str__(self) -> str:
        return f"{self.candidate.provider.name} {self.words}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a chat may be tried. Shape: `candidates` in the order of trying, never empty."""

    candidates: tuple[Candidate, ...]
    exclusions: tuple[Exclusion, ...] = ()

"""Secrets at rest: encrypted with the first of `LLMHUB_SECRET_KEYS`, readable with any of them."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


class UndecryptableSecretError(Exception):
    """None of the keys in `LLMHUB_SECRET_KEYS` opens this secret."""


class Secret:
    """A secret that shows itself only when asked: `str` and `repr` mask it.

    Shape: holds the ciphertext; `reveal` decrypts.
    """

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    @classmethod
    def seal(cls, plaintext: str) -> Secret:
        return cls(cipher().encrypt(plaintext.encode()).decode())

    def reveal(self, *, max_age_s: int | None = None) -> str:
        """Return the plaintext.

        Errors: UndecryptableSecretError, also for a secret sealed longer ago than `max_age_s`.
        """
        try:
            return cipher().decrypt(self.token.encode(), ttl=max_age_s).decode()
        except InvalidToken:
            raise UndecryptableSecretError("No key in LLMHUB_SECRET_KEYS opens this secret.") from None

    @property
    def is_readable(self) -> bool:
        try:
            self.reveal()
        except UndecryptableSecretError:
            return False
        return True

    @property
    def is_current(self) -> bool:
        """Whether the first key encrypted it.

        Errors: UndecryptableSecretError.
        """
        try:
            Fernet(settings.SECRET_KEYS[0]).decrypt(self.token.encode())
        except InvalidToken:
            self.reveal()
            return False
        return True

    @property
    def masked(self) -> str:
        """The last four characters, as people compare keys by; none of a short secret."""
        try:
            plaintext = self.reveal()
        except UndecryptableSecretError:
            return "cannot be decrypted"
        return f"…{plaintext[-4:]}" if len(plaintext) >= 12 else "…"

    def rotated(self) -> Secret:
        """Return the same secret under the first key."""
        try:
            return Secret(cipher().rotate(self.token.encode()).decode())
        except InvalidToken:
            raise UndecryptableSecretError("No key in LLMHUB_SECRET_KEYS opens this secret.") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)

    def __str__(self) -> str:
        return "<secret>"

    __repr__ = __str__


def cipher() -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in settings.SECRET_KEYS])
    except ValueError:
        raise ImproperlyConfigured("LLMHUB_SECRET_KEYS must list Fernet keys (32 url-safe base64 bytes).") from None


class SecretField(models.TextField):  # type: ignore[type-arg]  # django-stubs: the values are Secret, not str
    """A text column that holds ciphertext; values are `Secret`, a plain `str` assigned is sealed on save."""

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        return Secret(value) if value else None

    def to_python(self, value: Any) -> Any:
        return value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Leave no plaintext in a row that was saved."""
        value = super().pre_save(model_instance, add)
        if value and not isinstance(value, Secret):
            value = Secret.seal(value)
            setattr(model_instance, self.attname, value)
        return value

    def get_prep_value(self, value: Any) -> str:
        if not value:
            return ""
        return value.token if isinstance(value, Secret) else Secret.seal(value).token

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))

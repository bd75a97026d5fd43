"""Secrets at rest: encrypted with the first of `LLMHUB_SECRET_KEYS`, readable with any, bound to one place."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


class UndecryptableSecretError(Exception):
    """No key in `LLMHUB_SECRET_KEYS` decrypts this secret."""


class MisplacedSecretError(Exception):
    """This secret was sealed for another place."""


class Secret:
    """An encrypted secret that only `reveal` decrypts, and only for the place it was sealed for; `str` masks it.

    Shape: the ciphertext holds the place, one line of text or none, and the secret. So a writer of the database can
    neither change a secret nor use it in another place.
    """

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    @classmethod
    def seal(cls, plaintext: str, *, place: str = "") -> Secret:
        if "\n" in place:
            raise ValueError("A place is one line of text.")
        return cls(cipher().encrypt(f"{place}\n{plaintext}".encode()).decode())

    def reveal(self, *, place: str = "", max_age_s: int | None = None) -> str:
        """Return the plaintext.

        Errors: MisplacedSecretError; UndecryptableSecretError, also if sealed more than `max_age_s` ago.
        """
        sealed_for, plaintext = self._open(max_age_s=max_age_s)
        if sealed_for != place:
            raise MisplacedSecretError("This secret was sealed for another place.")
        return plaintext

    @property
    def place(self) -> str:
        """The place the secret was sealed for. Errors: UndecryptableSecretError."""
        return self._open()[0]

    def _open(self, *, max_age_s: int | None = None) -> tuple[str, str]:
        try:
            place, _, plaintext = cipher().decrypt(self.token.encode(), ttl=max_age_s).decode().partition("\n")
        except InvalidToken:
            raise UndecryptableSecretError("No key in LLMHUB_SECRET_KEYS opens this secret.") from None
        return place, plaintext

    @property
    def is_readable(self) -> bool:
        try:
            self._open()
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
            self._open()
            return False
        return True

    @property
    def masked(self) -> str:
        """The last four characters; none of a short secret."""
        try:
            _, plaintext = self._open()
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
    """A text column of ciphertext. Values are `Secret`; a `str` assigned to a row is sealed on save.

    Shape: `place_from` names the row's attribute that holds the place; empty for none.
    """

    def __init__(self, *args: Any, place_from: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place_from = place_from

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        return Secret(value) if value else None

    def to_python(self, value: Any) -> Any:
        return value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Seal plaintext, so that a saved row holds none."""
        value = super().pre_save(model_instance, add)
        if value and not isinstance(value, Secret):
            value = self.seal_for(model_instance, value)
            setattr(model_instance, self.attname, value)
        return value

    def seal_for(self, row: models.Model, plaintext: str) -> Secret:
        return Secret.seal(plaintext, place=getattr(row, self.place_from) if self.place_from else "")

    def get_prep_value(self, value: Any) -> str:
        if not value:
            return ""
        return value.token if isinstance(value, Secret) else Secret.seal(value).token

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if self.place_from and value and not isinstance(value, Secret):
            raise ValueError(f"{self.name}: a bulk write does not know the place; set it on a row and save that.")
        return super().get_db_prep_save(value, connection)

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))

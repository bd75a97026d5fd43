"""allauth adapters: sign-in messages, rate limits and encrypted second factors."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.internal.ratelimit import get_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from llmhub.access.secrets import Secret, UndecryptableSecretError
from llmhub.adminkit.same_origin import is_same_origin
from llmhub.http.client_address import client_address
from llmhub.people.sign_in_log import log_failure, log_lockout


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # untyped
    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "The username or the password is wrong.",
        "too_many_login_attempts": "Too many attempts have failed. Try again in five minutes.",
        "rate_limited": "Too many attempts have failed. Try again in five minutes.",
        "incorrect_password": "The password is wrong.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str | None) -> bool:
        return is_same_origin(context.request, url)

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            log_lockout(request)
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        log_failure(request, "password")

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count attempts by address and user: guesses from elsewhere must not lock the user out.

        allauth counts by Host, which the caller controls: any port passes.
        """
        return f"{get_ip(request)}:{credentials.get('username', '').lower()}"


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # untyped
    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "The code is wrong or expired. Enter the current one.",
        "unreadable": "Your second factor can no longer be decrypted. An administrator can remove it.",
    }

    def encrypt(self, text: str) -> str:
        return Secret.seal(text).token

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return Secret(encrypted_text).reveal()
        except UndecryptableSecretError:
            raise self.validation_error("unreadable") from None

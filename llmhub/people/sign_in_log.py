"""Log failed sign-ins by address only: people type passwords into the username field."""

from __future__ import annotations

import logging
from typing import Any

from allauth.mfa.signals import authentication_failed
from django.dispatch import receiver
from django.http import HttpRequest

from llmhub.http.client_address import client_address

logger = logging.getLogger(__name__)


def log_failure(request: HttpRequest, credential: str) -> None:
    logger.warning("A sign-in from %s failed: wrong %s.", client_address(request), credential)


def log_lockout(request: HttpRequest) -> None:
    logger.warning("A sign-in from %s was refused: too many have failed.", client_address(request))


@receiver(authentication_failed)
def log_wrong_code(request: HttpRequest, **_: Any) -> None:
    log_failure(request, "code")

"""A new key's secret on its way from the form that issued the key to the one page that shows it.

The form's answer is a redirect, so that a reload issues no second key. Until the page it leads to is asked for, the
secret is in the user's own session, encrypted like every secret at rest, and of no use after a few minutes.
"""

from __future__ import annotations

from django.contrib.sessions.backends.base import SessionBase

from llmhub.access.secrets import Secret, UndecryptableSecretError

HANDOVER_S = 300
NAME = "issued_keys"


def hand_over(session: SessionBase, key_id: int, secret: str) -> None:
    session[NAME] = {**session.get(NAME, {}), str(key_id): Secret.seal(secret).token}


def take_secret(session: SessionBase, key_id: int) -> str | None:
    """Return the secret of a key that this session has just issued: once, and not for long."""
    issued: dict[str, str] = session.get(NAME, {})
    if (token := issued.pop(str(key_id), None)) is None:
        return None
    session[NAME] = issued
    try:
        return Secret(token).reveal(max_age_s=HANDOVER_S)
    except UndecryptableSecretError:
        return None

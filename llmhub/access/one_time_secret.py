"""Hand a new key's secret from the form that issued it to the one page that shows it.

The form redirects, so that a reload issues no second key. Until the next page loads, the user's session holds the
secret: encrypted like every secret at rest, and expired after a few minutes.
"""

from __future__ import annotations

from django.contrib.sessions.backends.base import SessionBase

from llmhub.access.secrets import Secret, UndecryptableSecretError

MAX_AGE_S = 300
SESSION_KEY = "issued_keys"


def store_secret(session: SessionBase, key_id: int, secret: str) -> None:
    session[SESSION_KEY] = {**session.get(SESSION_KEY, {}), str(key_id): Secret.seal(secret).token}


def take_secret(session: SessionBase, key_id: int) -> str | None:
    """Remove and return the secret of a key that this session just issued; None if used or expired."""
    issued: dict[str, str] = session.get(SESSION_KEY, {})
    if (token := issued.pop(str(key_id), None)) is None:
        return None
    session[SESSION_KEY] = issued
    try:
        return Secret(token).reveal(max_age_s=MAX_AGE_S)
    except UndecryptableSecretError:
        return None

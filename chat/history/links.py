"""Links into the history of chats."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from django.urls import reverse


def chats_url(
    *,
    application: str = "",
    provider: str = "",
    model_name: str = "",
    status: str = "",
    error: str = "",
    end_user: str = "",
    conversation: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> str:
    """Return the URL of the admin's list of these chats: started at or after `since` and before `until`."""
    filters = {
        "application": application,
        "provider": provider,
        "model_name": model_name,
        "status": status,
        "error": error,
        "end_user": end_user,
        "conversation": conversation,
        "since": since and utc_text(since),
        "until": until and utc_text(until),
    }
    query = urlencode({name: value for name, value in filters.items() if value})
    return reverse("admin:chat_chat_changelist") + (f"?{query}" if query else "")


def utc_text(at: datetime) -> str:
    """Return a time as the value of a `datetime-local` field, in UTC, to the second or the millisecond."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds" if at.microsecond else "seconds")

"""The ledger's tables. Only the database's own functions write them; see `sql/`."""

from __future__ import annotations

import json
from typing import Any

from django.db import models

from chat.ledger.files import describe_files, load_files


class ChatStatus(models.TextChoices):
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    TRUNCATED = "truncated"
    CLIENT_DISCONNECTED = "client_disconnected", "Disconnected"
    LOST = "lost"


class EventKind(models.TextChoices):
    INTENT = "intent"
    OUTCOME = "outcome"
    VOID = "void"
    HEARTBEAT = "heartbeat"
    READ = "read"
    SEARCH = "search"
    EXPORT = "export"
    REVIEW = "review"
    REDACTION = "redaction"
    HOLD = "hold"
    ERASURE = "erasure"
    RETENTION = "retention"
    CONFIG = "config"
    KEY = "key"
    RESTORE = "restore"


OPENING_KINDS = (EventKind.INTENT, EventKind.VOID)


class ContentKind(models.TextChoices):
    REQUEST = "request"
    RESPONSE = "response"


class LedgerEvent(models.Model):
    """One entry of the ledger. Only the database function `ledger_append` writes it; nothing changes it."""

    id = models.UUIDField(primary_key=True, editable=False)
    at = models.DateTimeField()
    kind = models.TextField(choices=EventKind)
    chat_id = models.UUIDField(null=True)
    writer_id = models.UUIDField()
    writer_seq = models.BigIntegerField()
    header = models.BinaryField()
    leaf_hash = models.BinaryField()

    class Meta:
        managed = False
        db_table = "ledger_ledgerevent"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def event(self) -> dict[str, Any]:
        """The event as its writer recorded it."""
        event: dict[str, Any] = json.loads(bytes(self.header))["ev"]
        return event


class ChatContent(models.Model):
    """The body of a request or an answer, apart from its event: erasing it leaves proofs valid.

    Shape: `body` is the received body, byte for byte, without its files; `files` lists these as JSON, see
    `chat.ledger.files`.
    Units: `size_bytes` is the size of the received body, its files included.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    chat_id = models.UUIDField()
    part = models.TextField(choices=ContentKind)
    salt = models.BinaryField()
    body = models.BinaryField()
    files = models.TextField()
    size_bytes = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "ledger_chatcontent"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.part} of {self.chat_id}"

    @property
    def has_files(self) -> bool:
        return bool(load_files(self.files))

    def described(self) -> bytes:
        """Return the body with a description in place of each file."""
        return describe_files(bytes(self.body), load_files(self.files))


class LedgerWriterRecord(models.Model):
    """One writer of the ledger: its last sequence number, and when it was last seen."""

    writer_id = models.UUIDField(primary_key=True, editable=False)
    role = models.TextField()
    hostname = models.TextField()
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    last_seq = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "ledger_ledgerwriterrecord"
        ordering = ("-last_seen_at",)

    def __str__(self) -> str:
        return f"{self.role} {self.hostname}:{self.pid}"

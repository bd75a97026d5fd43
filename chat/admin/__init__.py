"""The history of chats in the admin. Every look at it is recorded before anything is shown."""

from chat.admin.chats import ChatAdmin
from chat.admin.ledger import LedgerEventAdmin, LedgerWriterSeatAdmin

__all__ = ["ChatAdmin", "LedgerEventAdmin", "LedgerWriterSeatAdmin"]

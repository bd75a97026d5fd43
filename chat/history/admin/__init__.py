"""The history of chats in the admin. Every read is recorded before anything is shown."""

from chat.history.admin.chats import ChatAdmin

__all__ = ["ChatAdmin"]

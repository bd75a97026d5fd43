"""The history of chats in the admin. Every look at it is recorded before anything is shown."""

from chat.history.admin.chats import ChatAdmin

__all__ = ["ChatAdmin"]

"""Mounted at /api/audit/."""

from django.urls import path

from chat.api import audit

urlpatterns = [
    path("chats", audit.ChatsView.as_view()),
    path("chats/<str:chat_id>", audit.ChatView.as_view()),
]

"""Mounted at /api/audit/."""

from django.urls import path

from chat.history.api import views

urlpatterns = [
    path("chats", views.ChatsView.as_view()),
    path("chats/<str:chat_id>", views.ChatView.as_view()),
]

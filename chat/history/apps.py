from django.apps import AppConfig


class ChatHistoryConfig(AppConfig):
    name = "chat.history"
    label = "chat"
    verbose_name = "Chats"

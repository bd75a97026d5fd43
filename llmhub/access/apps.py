from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "llmhub.access"
    label = "access"
    verbose_name = "Applications and keys"

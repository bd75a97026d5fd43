from django.apps import AppConfig


class AdminkitConfig(AppConfig):
    """What the admin's pages of all apps have in common."""

    name = "llmhub.adminkit"
    label = "adminkit"

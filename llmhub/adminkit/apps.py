from django.apps import AppConfig


class AdminkitConfig(AppConfig):
    """Parts that the admin pages of all apps share."""

    name = "llmhub.adminkit"
    label = "adminkit"

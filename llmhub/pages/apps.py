from django.apps import AppConfig


class PagesConfig(AppConfig):
    """What the admin's pages of all apps have in common."""

    name = "llmhub.pages"
    label = "pages"

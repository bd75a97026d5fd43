from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "llmhub.dashboard"
    label = "dashboard"

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "llmhub.operations"
    label = "operations"

    def ready(self) -> None:
        """Make the hub's Celery application the one that tasks are sent with, in every process."""
        from llmhub import celery  # noqa: F401 (for its effect)

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class HistoryConfig(AppConfig):
    name = "llmhub.history"
    label = "history"
    verbose_name = "History of the configuration"

    def ready(self) -> None:
        from llmhub.history.install import keep_history  # models are not ready before

        post_migrate.connect(keep_history, sender=self)

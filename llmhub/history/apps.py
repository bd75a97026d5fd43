from django.apps import AppConfig
from django.db.models.signals import post_migrate


class HistoryConfig(AppConfig):
    name = "llmhub.history"
    label = "history"
    verbose_name = "History of the configuration"

    def ready(self) -> None:
        from llmhub.history.install import install_history  # models are not ready before

        post_migrate.connect(install_history, sender=self)

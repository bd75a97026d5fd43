from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "providers"

    def ready(self) -> None:
        from llmhub.access.offers import offers_come_from  # models are not ready before
        from providers.models import ProviderConfig

        offers_come_from(ProviderConfig.objects.offers)

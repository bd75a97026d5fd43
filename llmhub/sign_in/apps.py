from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "llmhub.sign_in"
    label = "sign_in"

    def ready(self) -> None:
        from llmhub.sign_in import log  # noqa: F401 (for its effect)

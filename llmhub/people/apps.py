from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "llmhub.people"
    label = "people"

    def ready(self) -> None:
        from llmhub.people import sign_in_log  # noqa: F401 (for its effect)

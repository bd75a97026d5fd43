"""The connection tests in the admin: to be read only."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from llmhub.adminkit.large_tables import LargeTableAdmin
from providers.models import ConnectionTest, ConnectionTestOutcome

NO_OUTCOME = "no outcome"


@admin.register(ConnectionTest)
class ConnectionTestAdmin(LargeTableAdmin):
    list_display = ("at", "provider", "base_url", "key", "actor", "address", "through", "result", "words")
    list_select_related = ("outcome",)
    list_filter = ("through", "key")
    list_filter_submit = True
    fields = ("at", "provider", "provider_type", "base_url", "key", "actor", "address", "through", "result", "words")

    @display(  # type: ignore[untyped-decorator]  # untyped
        description="result", label={"worked": "success", "failed": "danger", NO_OUTCOME: "warning"}
    )
    def result(self, test: ConnectionTest) -> str:
        outcome = _outcome(test)
        if outcome is None:
            return NO_OUTCOME
        return "worked" if outcome.ok else "failed"

    @admin.display(description="what was found")
    def words(self, test: ConnectionTest) -> str:
        outcome = _outcome(test)
        return outcome.words if outcome else ""


def _outcome(test: ConnectionTest) -> ConnectionTestOutcome | None:
    return getattr(test, "outcome", None)

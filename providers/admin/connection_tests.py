"""Read-only admin pages of connection tests."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from llmhub.adminkit.large_tables import LargeTableAdmin
from providers.models import ConnectionTest, ConnectionTestOutcome

NO_OUTCOME = "unknown"


@admin.register(ConnectionTest)
class ConnectionTestAdmin(LargeTableAdmin):
    list_display = ("at", "provider", "base_url", "key", "actor", "address", "through", "result", "details")
    list_select_related = ("outcome",)
    list_filter = ("through", "key")
    list_filter_submit = True
    fields = ("at", "provider", "provider_type", "base_url", "key", "actor", "address", "through", "result", "details")

    @display(  # type: ignore[untyped-decorator]  # untyped
        description="result", label={"succeeded": "success", "failed": "danger", NO_OUTCOME: "warning"}
    )
    def result(self, test: ConnectionTest) -> str:
        outcome = _outcome(test)
        if outcome is None:
            return NO_OUTCOME
        return "succeeded" if outcome.ok else "failed"

    @admin.display(description="details")
    def details(self, test: ConnectionTest) -> str:
        outcome = _outcome(test)
        return outcome.words if outcome else "–"


def _outcome(test: ConnectionTest) -> ConnectionTestOutcome | None:
    return getattr(test, "outcome", None)

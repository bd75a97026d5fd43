"""Buttons in the rows of a list: each applies a list action to its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from llmhub.adminkit.same_origin import is_same_origin


@dataclass(frozen=True, slots=True)
class RowButton:
    """Shape: `icon` is a Material Symbol."""

    action: str
    icon: str
    label: str


class RowActions(ModelAdmin):  # type: ignore[misc]  # untyped
    """A ModelAdmin whose rows, which have a `name`, offer list actions as buttons."""

    list_after_template = "adminkit/row_form.html"
    row_actions: tuple[str, ...] = ()
    """The `actions` that rows offer as buttons."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.act_on_row))
        return [path("<int:pk>/do/<str:action>/", view, name=f"{self._url_prefix}_do"), *super().get_urls()]

    def act_on_row(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Apply a list action to one row, and redirect back to the page of the button."""
        if action not in self.row_actions:
            raise Http404
        if action not in self.get_actions(request):
            raise PermissionDenied
        rows = self.get_queryset(request).filter(pk=pk)
        if rows.exists():
            getattr(self, action)(request, rows)
        else:
            self.message_user(request, f"This {self.opts.verbose_name} no longer exists.", messages.WARNING)
        next_url = request.POST.get("next", "")
        if not is_same_origin(request, next_url):
            next_url = reverse(f"admin:{self._url_prefix}_changelist")
        return HttpResponseRedirect(next_url)

    def action_url(self, row: Model, action: str) -> str:
        return reverse(f"admin:{self._url_prefix}_do", args=[row.pk, action])

    def switch_button(self, row: Model, *, is_on: bool, action: str, label: str, title: str = "") -> SafeString:
        """Render a switch. Shape: `action` toggles it; `label` is its accessible name."""
        context = {"url": self.action_url(row, action), "is_on": is_on, "label": label, "title": title}
        return render_to_string("adminkit/switch.html", context)

    def row_buttons(self, row: Model, *buttons: RowButton, icons_only: bool = False) -> SafeString:
        items = [(self.action_url(row, button.action), button.icon, button.label) for button in buttons]
        return render_to_string("adminkit/row_buttons.html", {"row": row, "buttons": items, "icons_only": icons_only})

    @property
    def _url_prefix(self) -> str:
        options: Any = self.opts
        return f"{options.app_label}_{options.model_name}"

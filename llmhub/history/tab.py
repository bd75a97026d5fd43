"""The History tab of tracked objects."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst

from llmhub.history.describe import DescribedChange, describe, merge_changes, newest_first

PAGE_SIZE = 25


class HistoryTab:
    """Shows who changed an object, and how, even once it is deleted. A mixin to put before ModelAdmin."""

    def changeform_view(
        self: Any, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        tabs = {"tab_list": self._tabs(request, object_id), "show_history": False} if object_id else {}
        response: HttpResponse = super().changeform_view(  # type: ignore[misc]  # ModelAdmin comes after it
            request, object_id, form_url, {**(extra_context or {}), **tabs}
        )
        return response

    def history_view(self: Any, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Show the changes. Runs one query for the list, and a bounded number to describe it."""
        obj = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        number = _page_number(request)
        refs = _refs(self.model, unquote(object_id), number)
        if obj is None and not refs:
            response: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return response
        changes = merge_changes(describe(refs[:PAGE_SIZE], of=self.model))
        context = {
            **self.admin_site.each_context(request),
            "title": str(obj or (changes[0].subject if changes else self.opts.verbose_name)),
            "notice": "" if obj else _notice(self.opts, changes),
            "opts": self.opts,
            "original": obj,
            "kind": capfirst(str(self.opts.verbose_name)),
            "changes": changes,
            "page": number,
            "has_next": len(refs) > PAGE_SIZE,
            "tab_list": self._tabs(request, object_id, on_history=True) if obj else [],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "history/history.html", context)

    def _tabs(self: Any, request: HttpRequest, object_id: str, *, on_history: bool = False) -> list[dict[str, Any]]:
        """Return the tabs of one object: its form, its tabbed inlines, and its history."""
        names = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        form, history = (reverse(f"{names}_{page}", args=[quote(unquote(object_id))]) for page in ("change", "history"))
        inlines = self._inline_tabs(request, object_id)
        first = {"title": "General" if inlines else capfirst(str(self.opts.verbose_name)), "link": form}
        if on_history:
            items = [first, *({"title": title, "link": f"{form}#{prefix}"} for title, prefix in inlines)]
        elif inlines:
            items = [first | {"inline": "general"}]
            items += [{"title": title, "link": form, "inline": prefix} for title, prefix in inlines]
        else:
            items = [first | {"active": True}]
        items.append({"title": "History", "link": history, "active": on_history})
        return [
            {
                "models": [{"name": str(self.opts), "detail": True}],
                "items": [{"has_permission": True, **item} for item in items],
            }
        ]

    def _inline_tabs(self: Any, request: HttpRequest, object_id: str) -> list[tuple[str, str]]:
        if not any(getattr(inline, "tab", False) for inline in self.inlines):
            return []
        obj = self.get_object(request, unquote(object_id))
        return [
            (capfirst(str(inline.verbose_name_plural)), formset.get_default_prefix())
            for formset, inline in self.get_formsets_with_inlines(request, obj)
            if getattr(inline, "tab", False)
        ]


def _notice(options: Any, changes: list[DescribedChange]) -> str:
    name = f" {changes[0].subject}" if changes else ""
    return f"{capfirst(str(options.verbose_name))}{name} was deleted. Its history is kept."


def _page_number(request: HttpRequest) -> int:
    number = request.GET.get("page", "")
    return max(int(number), 1) if number.isdecimal() and len(number) < 6 else 1


def _refs(model: Any, object_id: str, number: int) -> list[Any]:
    """Return the changes of one page, plus the first of the next, if any."""
    try:
        pk = model._meta.pk.to_python(object_id)
    except ValidationError:
        return []
    return newest_first(model, pk, offset=(number - 1) * PAGE_SIZE, limit=PAGE_SIZE + 1)

"""Filters of chats: one form, whose fields are the list's URL parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from chat.history.models import Chat, ChatQuerySet
from chat.ledger.models import ChatStatus
from llmhub.adminkit.untrusted_text import is_plain

PERIODS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
EXACT = {
    "application": "application",
    "provider": "provider",
    "model_name": "model_name",
    "end_user": "end_user",
    "conversation": "conversation",
    "actor": "actor",
}
"""Filters that match one indexed column exactly."""

ORDERED = {*EXACT, "status"}
"""Filters whose index is ordered by time."""

TIMES = ("within", "since", "until")
SUGGESTED = {
    "application": ("application",),
    "provider": ("provider",),
    "model_name": ("model_name",),
    "error": ("error_type", "error_code"),
}
"""The columns whose values a field suggests."""

MAX_SUGGESTIONS = 200
MAX_USD = Decimal(10**6)
MAX_TOKENS = 10**12


class NameInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]  # untyped
    """A text field that suggests existing names."""

    template_name = "chat/name_input.html"
    names: Sequence[str] = ()

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, {**(attrs or {}), "list": f"{name}-names"})
        context["names"] = self.names
        return context


def _number(label: str, *, step: str, most: Decimal | int, places: int | None = None) -> forms.Field:
    widget = UnfoldAdminTextInputWidget({"type": "number", "min": "0", "step": step, "inputmode": "decimal"})
    if places is None:
        return forms.IntegerField(label=label, required=False, min_value=0, max_value=int(most), widget=widget)
    return forms.DecimalField(
        label=label, required=False, min_value=Decimal(), max_value=Decimal(most), decimal_places=places, widget=widget
    )


def _moment(label: str) -> forms.DateTimeField:
    widget = UnfoldAdminTextInputWidget({"type": "datetime-local", "step": "1"})
    return forms.DateTimeField(label=label, required=False, widget=widget)


def _name(label: str, *, is_suggested: bool = False) -> forms.CharField:
    widget = NameInput() if is_suggested else UnfoldAdminTextInputWidget()
    return forms.CharField(label=label, required=False, max_length=512, widget=widget)


@dataclass(frozen=True, slots=True)
class ActiveFilter:
    """An active filter, and the query string without it."""

    label: str
    value: str
    without: str


@dataclass(frozen=True, slots=True)
class Preset:
    label: str
    query: str
    is_chosen: bool


class ChatFilterForm(forms.Form):
    data: QueryDict

    status = forms.MultipleChoiceField(
        label="Status", required=False, choices=ChatStatus.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    within = forms.ChoiceField(
        label="Period",
        required=False,
        choices=[("", "Any time"), *((name, f"Last {name}") for name in PERIODS)],
        widget=UnfoldAdminSelectWidget,
    )
    since = _moment("Started from (UTC)")
    until = _moment("Started before (UTC)")
    application = _name("Application", is_suggested=True)
    provider = _name("Provider", is_suggested=True)
    model_name = _name("Model", is_suggested=True)
    error = _name("Error", is_suggested=True)
    end_user = _name("End user")
    conversation = _name("Conversation")
    actor = _name("Signed-in user")
    cost_from = _number("Cost from (USD)", step="any", most=MAX_USD, places=9)
    cost_to = _number("Cost up to (USD)", step="any", most=MAX_USD, places=9)
    tokens_from = _number("Tokens from", step="1", most=MAX_TOKENS)
    tokens_to = _number("Tokens up to", step="1", most=MAX_TOKENS)

    def suggest(self) -> None:
        """Load the suggestions of the fields. Runs a short query for each column."""
        for name, columns in SUGGESTED.items():
            self.fields[name].widget.names = [
                value
                for column in columns
                for value in Chat.objects.names(column, most=MAX_SUGGESTIONS)
                if is_plain(value)
            ]

    def filter_chats(self, chats: ChatQuerySet, *, now: datetime) -> ChatQuerySet:
        """Keep the chats that match every field; none if a field is invalid."""
        if not self.is_valid():
            return chats.none()
        cleaned = self.cleaned_data
        exact = {column: cleaned[name] for name, column in EXACT.items() if cleaned[name]}
        if cleaned["status"]:
            # One condition each: no single index holds both open chats and failed ones.
            chats = chats.filter(reduce(or_, (Q(status=status) for status in cleaned["status"])))
        if cleaned["error"]:
            chats = chats.filter(Q(error_type=cleaned["error"]) | Q(error_code=cleaned["error"]))
        return (
            chats.filter(**exact)
            .between(since=self._since(now=now), until=cleaned["until"])
            .with_cost(least_usd=cleaned["cost_from"], most_usd=cleaned["cost_to"])
            .with_tokens(least_tokens=cleaned["tokens_from"], most_tokens=cleaned["tokens_to"])
        )

    def period_chats(self, *, now: datetime) -> ChatQuerySet:
        """Return all chats of the chosen period."""
        cleaned = self.cleaned_data if self.is_valid() else {}
        return Chat.objects.between(since=self._since(now=now), until=cleaned.get("until"))

    @property
    def is_in_order(self) -> bool:
        """Whether one index holds the matches in order of time, so that the planner can use it."""
        names = [
            name
            for name in (*self.fields, SEARCH_VAR)
            if name not in TIMES
            for value in self.data.getlist(name)
            if value
        ]
        return not names or (len(names) == 1 and names[0] in ORDERED)

    def _since(self, *, now: datetime) -> datetime | None:
        cleaned = self.cleaned_data if self.is_valid() else {}
        starts = [cleaned.get("since"), now - PERIODS[cleaned["within"]] if cleaned.get("within") else None]
        return max((start for start in starts if start), default=None)

    def active(self) -> list[ActiveFilter]:
        """Return the active filters, as entered."""
        names = (*self.fields, SEARCH_VAR)
        active = [(name, value) for name in names for value in self.data.getlist(name) if value.strip()]
        return [
            ActiveFilter(
                label=str(self.fields[name].label) if name in self.fields else "Search",
                value=self._value_label(name, value),
                without=_without(self.data, name, value),
            )
            for name, value in active
        ]

    def _value_label(self, name: str, value: str) -> str:
        choices = dict(getattr(self.fields.get(name), "choices", ()))
        return str(choices.get(value, value))


def _without(query: QueryDict, name: str, value: str) -> str:
    """Return the query string without one filter, from the first page."""
    return _replace(query, name, [kept_value for kept_value in query.getlist(name) if kept_value != value])


def _with(query: QueryDict, name: str, value: str) -> str:
    return _replace(query, name, [value])


def _replace(query: QueryDict, name: str, values: list[str]) -> str:
    params = query.copy()
    params.pop(PAGE_VAR, None)
    params.setlist(name, values)
    return f"?{params.urlencode()}"


def search(chats: ChatQuerySet, term: str) -> ChatQuerySet:
    """Keep the chats with this id (also as `chatcmpl-…`), end user or conversation."""
    term = term.strip()
    if not term:
        return chats
    matches = Q(end_user=term) | Q(conversation=term)
    with suppress(ValueError):
        matches |= Q(pk=UUID(term.removeprefix("chatcmpl-")))
    return chats.filter(matches)


class ChatFilter(admin.ListFilter):
    title = "filters"
    template = "unfold/filters/filters_field.html"

    def __init__(self, request: HttpRequest, params: dict[str, list[str]], model: type[Chat], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.form = ChatFilterForm(request.GET)
        self.chips = self.form.active()
        for name in self.expected_parameters():
            params.pop(name, None)

    def presets(self) -> list[Preset]:
        """Return the periods offered as links."""
        selected = self.form.data.get("within", "")
        return [
            Preset(f"Last {name}", _with(self.form.data, "within", name), is_chosen=name == selected)
            for name in PERIODS
        ]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str]:  # type: ignore[override]  # stubs want None too
        return list(ChatFilterForm.base_fields)

    def queryset(self, _request: HttpRequest, chats: QuerySet[Any]) -> QuerySet[Any]:
        assert isinstance(chats, ChatQuerySet)
        return self.form.filter_chats(chats, now=timezone.now())

    def choices(self, _changelist: Any) -> Iterator[dict[str, Any]]:
        self.form.suggest()
        yield {"form": self.form}

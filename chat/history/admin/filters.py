"""By what chats can be found: one form, whose fields are the parameters of the list's address."""

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
"""What matches one column as an index can: exactly."""

ORDERED = {*EXACT, "status"}
"""What an index holds in the order of time."""

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
    """A text field that suggests the names there are."""

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
    """A filter in use, and the query string of the list without it."""

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
        label="Started within",
        required=False,
        choices=[("", "any time"), *((name, f"the last {name}") for name in PERIODS)],
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
        """Fill in the names that the fields suggest. Runs a short query for each column."""
        for name, columns in SUGGESTED.items():
            self.fields[name].widget.names = [
                value
                for column in columns
                for value in Chat.objects.names(column, most=MAX_SUGGESTIONS)
                if is_plain(value)
            ]

    def narrow(self, chats: ChatQuerySet, *, now: datetime) -> ChatQuerySet:
        """Keep the chats that every field lets through: none where a field cannot be read."""
        if not self.is_valid():
            return chats.none()
        found = self.cleaned_data
        exact = {column: found[name] for name, column in EXACT.items() if found[name]}
        if found["status"]:
            # One by one: no single index holds both the chats that are open and those that ended badly.
            chats = chats.filter(reduce(or_, (Q(status=status) for status in found["status"])))
        if found["error"]:
            chats = chats.filter(Q(error_type=found["error"]) | Q(error_code=found["error"]))
        return (
            chats.filter(**exact)
            .between(since=self._since(now=now), until=found["until"])
            .costing(least_usd=found["cost_from"], most_usd=found["cost_to"])
            .sized(least_tokens=found["tokens_from"], most_tokens=found["tokens_to"])
        )

    def span(self, *, now: datetime) -> ChatQuerySet:
        """Return all chats of the time that is asked for."""
        found = self.cleaned_data if self.is_valid() else {}
        return Chat.objects.between(since=self._since(now=now), until=found.get("until"))

    @property
    def is_in_order(self) -> bool:
        """Whether one index holds what is asked for in the order of time, so that the planner finds the way."""
        given = [
            name
            for name in (*self.fields, SEARCH_VAR)
            if name not in TIMES
            for value in self.data.getlist(name)
            if value
        ]
        return not given or (len(given) == 1 and given[0] in ORDERED)

    def _since(self, *, now: datetime) -> datetime | None:
        found = self.cleaned_data if self.is_valid() else {}
        starts = [found.get("since"), now - PERIODS[found["within"]] if found.get("within") else None]
        return max((start for start in starts if start), default=None)

    def active(self) -> list[ActiveFilter]:
        """Return the filters in use, as they were given."""
        names = (*self.fields, SEARCH_VAR)
        given = [(name, value) for name in names for value in self.data.getlist(name) if value.strip()]
        return [
            ActiveFilter(
                label=str(self.fields[name].label) if name in self.fields else "Search",
                value=self._in_words(name, value),
                without=_without(self.data, name, value),
            )
            for name, value in given
        ]

    def _in_words(self, name: str, value: str) -> str:
        choices = dict(getattr(self.fields.get(name), "choices", ()))
        return str(choices.get(value, value))


def _without(query: QueryDict, name: str, value: str) -> str:
    """Return the query string that leaves one filter out and begins at the first page."""
    return _changed(query, name, [other for other in query.getlist(name) if other != value])


def _with(query: QueryDict, name: str, value: str) -> str:
    return _changed(query, name, [value])


def _changed(query: QueryDict, name: str, values: list[str]) -> str:
    changed = query.copy()
    changed.pop(PAGE_VAR, None)
    changed.setlist(name, values)
    return f"?{changed.urlencode()}"


def search(chats: ChatQuerySet, term: str) -> ChatQuerySet:
    """Keep the chats of one id, in either of its forms, of one end user, or of one conversation."""
    term = term.strip()
    if not term:
        return chats
    found = Q(end_user=term) | Q(conversation=term)
    with suppress(ValueError):
        found |= Q(pk=UUID(term.removeprefix("chatcmpl-")))
    return chats.filter(found)


class ChatFilter(admin.ListFilter):
    title = "what chats have in common"
    template = "unfold/filters/filters_field.html"

    def __init__(self, request: HttpRequest, params: dict[str, list[str]], model: type[Chat], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.form = ChatFilterForm(request.GET)
        self.chips = self.form.active()
        for name in self.expected_parameters():
            params.pop(name, None)

    def presets(self) -> list[Preset]:
        """The periods that one click chooses."""
        chosen = self.form.data.get("within", "")
        return [
            Preset(f"Last {name}", _with(self.form.data, "within", name), is_chosen=name == chosen) for name in PERIODS
        ]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str]:  # type: ignore[override]  # stubs want None too
        return list(ChatFilterForm.base_fields)

    def queryset(self, _request: HttpRequest, chats: QuerySet[Any]) -> QuerySet[Any]:
        assert isinstance(chats, ChatQuerySet)
        return self.form.narrow(chats, now=timezone.now())

    def choices(self, _changelist: Any) -> Iterator[dict[str, Any]]:
        self.form.suggest()
        yield {"form": self.form}

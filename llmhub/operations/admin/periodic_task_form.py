"""The form of a periodic task."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from celery import current_app
from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, PeriodicTask
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

JSON_WIDGET = UnfoldAdminTextareaWidget(attrs={"rows": 3, "class": "json-text", "spellcheck": "false"})


def task_choices() -> list[tuple[str, str]]:
    current_app.loader.import_default_modules()
    names = sorted(name for name in current_app.tasks if not name.startswith("celery."))
    return [("", "---------"), *((name, name) for name in names)]


class PeriodicTaskForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    task = forms.ChoiceField(choices=task_choices, widget=UnfoldAdminSelectWidget, help_text="The task to run.")

    class Meta:
        model = PeriodicTask
        fields = (
            "name",
            "task",
            "enabled",
            "description",
            "interval",
            "crontab",
            "clocked",
            "one_off",
            "start_time",
            "args",
            "kwargs",
            "expires",
            "expire_seconds",
            "queue",
        )
        widgets = {
            "args": JSON_WIDGET,
            "kwargs": JSON_WIDGET,
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        }
        labels = {
            "interval": "Interval",
            "crontab": "Crontab",
            "clocked": "Fixed time",
            "one_off": "One-off",
            "start_time": "Starts at",
            "args": "Positional arguments",
            "kwargs": "Keyword arguments",
            "expires": "Expires at",
            "expire_seconds": "Expires after (s)",
            "queue": "Queue",
        }
        help_texts = {
            "name": "The name shown in lists.",
            "enabled": "If disabled, it never runs.",
            "description": "The purpose of the task.",
            "interval": "Set exactly one: interval, crontab or fixed time.",
            "crontab": "E.g. every night at 04:00.",
            "clocked": "Runs once, at that time; requires “One-off”.",
            "one_off": "Runs once, and is then disabled.",
            "start_time": "Empty: immediately.",
            "args": "As JSON, e.g. <code>[1, 2]</code>.",
            "kwargs": 'As JSON, e.g. <code>{"provider_id": 1}</code>.',
            "expires": "Empty: never.",
            "expire_seconds": "A run that no worker started within this time is dropped.",
            "queue": "Empty: the default queue of the hub's workers.",
        }

    def clean_args(self) -> str:
        return self._json("args", list, "a JSON list")

    def clean_kwargs(self) -> str:
        return self._json("kwargs", dict, "a JSON object")

    def _json(self, name: str, kind: type, expected: str) -> str:
        text: str = self.cleaned_data[name]
        try:
            is_valid = isinstance(json.loads(text), kind)
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValidationError(f"This must be {expected}.")
        return text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("expires") and cleaned.get("expire_seconds") is not None:
            raise ValidationError("Set either “Expires at” or “Expires after”, not both.")
        self._check_times(cleaned.get("start_time"), cleaned.get("clocked"), cleaned.get("expires"))
        return cleaned

    def _check_times(self, start: datetime | None, clocked: ClockedSchedule | None, end: datetime | None) -> None:
        """Refuse an expiry before which the task never runs."""
        if end is None:
            return
        if "expires" in self.changed_data and end <= timezone.now():
            self.add_error("expires", "This is in the past: the task would never run.")
        elif (start and start >= end) or (clocked and clocked.clocked_time >= end):
            self.add_error("expires", "This is before the start: the task would never run.")

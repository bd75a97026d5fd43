"""The forms of schedules."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule

from llmhub.operations.schedule_text import MAX_INTERVAL, crontab_fault


def is_too_long(every: int, period: str) -> bool:
    try:
        return timedelta(**{period: every}) > MAX_INTERVAL
    except OverflowError:
        return True


class IntervalForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = IntervalSchedule
        fields = ("every", "period")
        labels = {"every": "Every", "period": "Unit"}
        help_texts = {"every": "The number of units between two runs.", "period": ""}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and is_too_long(cleaned["every"], cleaned["period"]):
            self.add_error("every", f"The interval may be at most {MAX_INTERVAL.days} days.")
        return cleaned


class CrontabForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = CrontabSchedule
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
        labels = {
            "minute": "Minutes",
            "hour": "Hours",
            "day_of_month": "Days of the month",
            "month_of_year": "Months",
            "day_of_week": "Days of the week",
            "timezone": "Time zone",
        }
        help_texts = {
            "minute": "<code>*</code>: every minute; e.g. <code>0,30</code> or <code>*/15</code>.",
            "hour": "0 to 23, e.g. <code>8,20</code>.",
            "day_of_month": "1 to 31, e.g. <code>1,15</code>.",
            "month_of_year": "1 to 12, e.g. <code>1,7</code>.",
            "day_of_week": "0 or 7 is Sunday, 1 Monday, e.g. <code>1-5</code>.",
            "timezone": "The time zone of the hours.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            names = [name for name in self.Meta.fields if name in cleaned]
            crontab = CrontabSchedule(**{name: cleaned[name] for name in names})
            if fault := crontab_fault(crontab, now=timezone.now()):
                raise ValidationError(fault)
        return cleaned


class FixedTimeForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = ClockedSchedule
        fields = ("clocked_time",)
        labels = {"clocked_time": "Time (UTC)"}
        help_texts = {"clocked_time": "Tasks with this schedule run once."}

    def clean_clocked_time(self) -> datetime:
        time: datetime = self.cleaned_data["clocked_time"]
        if "clocked_time" in self.changed_data and time <= timezone.now():
            raise ValidationError("This is in the past.")
        return time

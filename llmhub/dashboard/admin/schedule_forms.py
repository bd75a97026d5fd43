"""The forms of when something is done."""

from __future__ import annotations

from django import forms
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule


class IntervalForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = IntervalSchedule
        fields = ("every", "period")
        labels = {"every": "Every", "period": "Unit"}
        help_texts = {"every": "So many units lie between two runs.", "period": ""}


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
            "minute": "<code>*</code> is every one; e.g. <code>0,30</code> or <code>*/15</code>.",
            "hour": "0 to 23, e.g. <code>8,20</code>.",
            "day_of_month": "1 to 31, e.g. <code>1,15</code>.",
            "month_of_year": "1 to 12, e.g. <code>1,7</code>.",
            "day_of_week": "0 or 7 is Sunday, 1 Monday, e.g. <code>1-5</code>.",
            "timezone": "Where the hours are counted.",
        }


class FixedTimeForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = ClockedSchedule
        fields = ("clocked_time",)
        labels = {"clocked_time": "Time (UTC)"}
        help_texts = {"clocked_time": "What is scheduled for it runs once."}

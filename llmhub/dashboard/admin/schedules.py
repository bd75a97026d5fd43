"""Periodic tasks: what is done, when, how it ended, and doing it now."""

from __future__ import annotations

import json
from typing import Any

from celery import current_app
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import ForeignKey, OuterRef, QuerySet, Subquery, Value
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from llmhub.access.changes import spoken_time
from llmhub.access.history_admin import HistoryTab
from llmhub.dashboard.models import Heartbeat, Part, TaskResult
from llmhub.dashboard.runs import CannotSendError, send_now
from llmhub.dashboard.schedules import spoken_next_run, spoken_schedule

# Solar schedules need a library that the hub does without: one of them in the table would stop beat.
for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule):
    admin.site.unregister(model)

JSON_WIDGET = UnfoldAdminTextareaWidget(attrs={"rows": 3, "class": "json-text", "spellcheck": "false"})


def task_choices() -> list[tuple[str, str]]:
    current_app.loader.import_default_modules()
    names = sorted(name for name in current_app.tasks if not name.startswith("celery."))
    return [("", "---------"), *((name, name) for name in names)]


class PeriodicTaskForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    task = forms.ChoiceField(choices=task_choices, widget=UnfoldAdminSelectWidget, help_text="What is to be done.")

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
            "clocked": "Time on the clock",
            "one_off": "One-off",
            "start_time": "Not before",
            "expires": "Not after",
            "expire_seconds": "Expires after (s)",
            "queue": "Queue",
        }
        help_texts = {
            "name": "What the task is called in lists.",
            "enabled": "Switched off, it is never sent.",
            "description": "What it is for.",
            "interval": "Choose one of three: an interval, a crontab or a time on the clock.",
            "crontab": "E.g. every night at four.",
            "clocked": "Runs once: needs “one-off”.",
            "one_off": "Runs a single time and is switched off then.",
            "start_time": "Empty: at once.",
            "args": "As JSON, e.g. <code>[1, 2]</code>.",
            "kwargs": 'As JSON, e.g. <code>{"provider_id": 1}</code>.',
            "expires": "Empty: it never ends.",
            "expire_seconds": "A task that nobody took for so many seconds is not done any more.",
            "queue": "Empty: where the hub's workers listen.",
        }

    def clean_args(self) -> str:
        return self._json("args", list, "a JSON list")

    def clean_kwargs(self) -> str:
        return self._json("kwargs", dict, "a JSON object")

    def _json(self, name: str, kind: type, words: str) -> str:
        text: str = self.cleaned_data[name]
        try:
            is_right = isinstance(json.loads(text), kind)
        except ValueError:
            is_right = False
        if not is_right:
            raise ValidationError(f"This must be {words}.")
        return text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("expires") and cleaned.get("expire_seconds") is not None:
            raise ValidationError("A task expires either at a time or after some seconds.")
        return cleaned


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(HistoryTab, ModelAdmin):  # type: ignore[misc]  # untyped
    form = PeriodicTaskForm
    list_display = ("name", "switch", "schedule", "last_run", "next_run", "last_result", "run")
    list_filter = ("enabled",)
    list_select_related = ("interval", "crontab", "clocked", "solar")
    search_fields = ("name", "task")
    ordering = ("name",)
    readonly_fields = ("schedule", "last_run", "next_run", "last_result")
    actions = ("run_now", "enable", "disable")
    change_form_outer_before_template = "dashboard/run_now.html"

    class Media:
        css = {"all": ("dashboard/schedules.css",)}

    def get_fieldsets(self, _request: HttpRequest, obj: PeriodicTask | None = None) -> Any:
        now = {"fields": self.readonly_fields}
        return [
            (None, {"fields": ("name", "task", "enabled", "description")}),
            *([("How it is", now)] if obj else []),
            ("When", {"fields": ("interval", "crontab", "clocked", "one_off", "start_time")}),
            ("Arguments", {"fields": ("args", "kwargs")}),
            ("Sending", {"fields": ("expires", "expire_seconds", "queue")}),
        ]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/run/", view(require_POST(self.run_view)), name="periodictask_run"),
            path("<int:pk>/switch/", view(require_POST(self.switch_view)), name="periodictask_switch"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        result = TaskResult.objects.filter(name=OuterRef("name"))
        tasks: QuerySet[PeriodicTask] = super().get_queryset(request)
        annotated: QuerySet[PeriodicTask] = tasks.annotate(
            may_change=Value(self.has_change_permission(request)),
            finished_at=Subquery(result.values("finished_at")),
            duration_ms=Subquery(result.values("duration_ms")),
            error=Subquery(result.values("error")),
        )
        return annotated

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "crontab" and field:
            field.label_from_instance = lambda crontab: crontab.human_readable
        return field

    def run_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        self._run(request, self._chosen(request, pk))
        return self._back(request)

    def switch_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        for task in self._chosen(request, pk):
            self._switch(request, self._chosen(request, pk), on=not task.enabled)
        return self._back(request)

    def _chosen(self, request: HttpRequest, pk: int) -> QuerySet[PeriodicTask]:
        if not self.has_change_permission(request):
            raise PermissionDenied
        return self.get_queryset(request).filter(pk=pk)

    def _back(self, request: HttpRequest) -> HttpResponse:
        here = reverse("admin:django_celery_beat_periodictask_changelist")
        came_from = request.POST.get("next", "")
        return HttpResponseRedirect(came_from if came_from.startswith(here) else here)

    @admin.action(description="Run now", permissions=["change"])
    def run_now(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        self._run(request, tasks)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        self._switch(request, tasks, on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        self._switch(request, tasks, on=False)

    def _switch(self, request: HttpRequest, tasks: QuerySet[PeriodicTask], *, on: bool) -> None:
        switched = tasks.filter(enabled=not on).update(enabled=on)
        PeriodicTasks.update_changed()
        self.message_user(request, f"{switched} {'enabled' if on else 'disabled'}.", messages.SUCCESS)

    def _run(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        sent = 0
        for task in tasks:
            try:
                send_now(task)
            except CannotSendError as error:
                self.message_user(request, f"{task.name} was not sent: {error}", messages.ERROR)
            else:
                sent += 1
        if sent:
            self.message_user(request, f"{sent} sent. How it ended is shown here in a moment.", messages.SUCCESS)
        if sent and Part.WORKER not in Heartbeat.objects.alive(now=timezone.now()):
            words = "No worker gives a sign of life: what was sent waits for one. Start a worker."
            self.message_user(request, words, messages.WARNING)

    @admin.display(description="enabled", ordering="enabled")
    def switch(self, task: Any) -> str:
        if not task.may_change:
            return "on" if task.enabled else "off"
        url = reverse("admin:periodictask_switch", args=[task.pk])
        return format_html(
            '<button type="submit" class="row-switch" role="switch" aria-checked="{}" formaction="{}"'
            ' aria-label="{} enabled">{}</button>',
            "true" if task.enabled else "false",
            url,
            task.name,
            "on" if task.enabled else "off",
        )

    @admin.display(description="run")
    def run(self, task: Any) -> str:
        if not task.may_change:
            return "–"
        url = reverse("admin:periodictask_run", args=[task.pk])
        return format_html(
            '<button type="submit" class="row-button" formaction="{}" aria-label="Run {} now">Run now</button>',
            url,
            task.name,
        )

    @admin.display(description="schedule")
    def schedule(self, task: PeriodicTask) -> str:
        return spoken_schedule(task)

    @admin.display(description="last run", ordering="last_run_at")
    def last_run(self, task: PeriodicTask) -> str:
        return spoken_time(task.last_run_at) if task.last_run_at else "not yet"

    @admin.display(description="next run")
    def next_run(self, task: PeriodicTask) -> str:
        return spoken_next_run(task, now=timezone.now())

    @admin.display(description="last result", ordering="finished_at")
    def last_result(self, task: Any) -> str:
        if task.finished_at is None:
            return "none yet"
        took = f"{task.duration_ms} ms" if task.duration_ms < 1000 else f"{task.duration_ms / 1000:.1f} s"
        return format_html(
            '<span class="{}">{}</span><span class="result-detail">took {}, {}</span>',
            "result-failed" if task.error else "result-ok",
            f"failed: {task.error}" if task.error else "ok",
            took,
            spoken_time(task.finished_at),
        )


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    list_display = ("__str__", "every", "period")


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    list_display = ("human_readable", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
    fields = ("human_readable", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
    readonly_fields = ("human_readable",)


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    list_display = ("clocked_time",)

"""Admin pages of periodic tasks: schedule, last result, and “Run now”."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import ForeignKey, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from unfold.admin import ModelAdmin

from llmhub.adminkit.initial_values import CheckedInitialValues
from llmhub.adminkit.row_actions import RowActions, RowButton
from llmhub.adminkit.times import exact_time, format_ms
from llmhub.history.tab import HistoryTab
from llmhub.operations.admin.periodic_task_form import PeriodicTaskForm
from llmhub.operations.admin.schedule_forms import CrontabForm, FixedTimeForm, IntervalForm
from llmhub.operations.models import Heartbeat, Service, TaskResult
from llmhub.operations.run_now import CannotSendError, NoBrokerError, send_now
from llmhub.operations.schedule_text import crontab_text, next_run_text, schedule_text

# Solar schedules need a library that the hub does not install: one row of them would stop beat.
for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule):
    admin.site.unregister(model)

ClockedSchedule._meta.verbose_name = "fixed time"
ClockedSchedule._meta.verbose_name_plural = "fixed times"

RUN_NOW = RowButton("run_now", "play_arrow", "Run now")


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(CheckedInitialValues, HistoryTab, RowActions):
    form = PeriodicTaskForm
    list_display = ("name", "switch", "schedule", "last_run", "next_run", "last_result", "run")
    list_filter = ("enabled",)
    list_select_related = ("interval", "crontab", "clocked", "solar")
    search_fields = ("name", "task")
    ordering = ("name",)
    readonly_fields = ("schedule", "last_run", "next_run", "last_result")
    actions = row_actions = ("run_now", "enable", "disable")
    change_form_outer_before_template = "operations/run_now.html"

    class Media:
        css = {"all": ("operations/schedules.css",)}

    def get_fieldsets(self, _request: HttpRequest, obj: PeriodicTask | None = None) -> Any:
        return [
            (None, {"fields": ("name", "task", "enabled", "description")}),
            *([("Status", {"fields": self.readonly_fields})] if obj else []),
            ("Schedule", {"fields": ("interval", "crontab", "clocked", "one_off", "start_time")}),
            ("Arguments", {"fields": ("args", "kwargs")}),
            ("Delivery", {"fields": ("expires", "expire_seconds", "queue")}),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        result = TaskResult.objects.filter(name=OuterRef("name"))
        tasks: QuerySet[PeriodicTask] = super().get_queryset(request)
        annotated: QuerySet[PeriodicTask] = tasks.annotate(
            finished_at=Subquery(result.values("finished_at")),
            duration_ms=Subquery(result.values("duration_ms")),
            error=Subquery(result.values("error")),
        )
        return annotated

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if self.has_change_permission(request):
            return self.list_display
        return tuple({"switch": "enabled"}.get(column, column) for column in self.list_display[:-1])

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "crontab" and field:
            field.label_from_instance = crontab_text
        return field

    @admin.action(description="Run now", permissions=["change"])
    def run_now(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        sent_count = 0
        for task in tasks:
            try:
                send_now(task)
            except NoBrokerError as error:
                self.message_user(request, f"{task.name} and the tasks after it were not sent: {error}", messages.ERROR)
                break
            except CannotSendError as error:
                self.message_user(request, f"{task.name} was not sent: {error}", messages.ERROR)
            else:
                sent_count += 1
        if sent_count:
            self.message_user(request, f"{sent_count} sent. The result appears here in a moment.", messages.SUCCESS)
        if sent_count and Service.WORKER not in Heartbeat.objects.alive(now=timezone.now()):
            message = "No worker is running: the tasks wait in the queue. Start a worker."
            self.message_user(request, message, messages.WARNING)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        self._switch(request, tasks, on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        self._switch(request, tasks, on=False)

    def _switch(self, request: HttpRequest, tasks: QuerySet[PeriodicTask], *, on: bool) -> None:
        changed = tasks.filter(enabled=not on).update(enabled=on)
        PeriodicTasks.update_changed()
        self.message_user(request, f"{changed} {'enabled' if on else 'disabled'}.", messages.SUCCESS)

    @admin.display(description="enabled", ordering="enabled")
    def switch(self, task: PeriodicTask) -> str:
        action, label = "disable" if task.enabled else "enable", f"{task.name} enabled"
        return self.switch_button(task, is_on=task.enabled, action=action, label=label)

    @admin.display(description="run")
    def run(self, task: PeriodicTask) -> str:
        return self.row_buttons(task, RUN_NOW, icons_only=True)

    @admin.display(description="schedule")
    def schedule(self, task: PeriodicTask) -> str:
        return schedule_text(task)

    @admin.display(description="last run", ordering="last_run_at")
    def last_run(self, task: PeriodicTask) -> str:
        return exact_time(task.last_run_at) if task.last_run_at else "never"

    @admin.display(description="next run")
    def next_run(self, task: PeriodicTask) -> str:
        return next_run_text(task, now=timezone.now())

    @admin.display(description="last result", ordering="finished_at")
    def last_result(self, task: Any) -> str:
        if task.finished_at is None:
            return "–"
        return format_html(
            '<span class="{}">{}</span><span class="result-detail">took {}, {}</span>',
            "result-failed" if task.error else "result-ok",
            f"failed: {task.error}" if task.error else "succeeded",
            format_ms(task.duration_ms),
            exact_time(task.finished_at),
        )


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(CheckedInitialValues, HistoryTab, ModelAdmin):  # type: ignore[misc]  # untyped
    form = IntervalForm
    list_display = ("__str__",)


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(CheckedInitialValues, HistoryTab, ModelAdmin):  # type: ignore[misc]  # untyped
    form = CrontabForm
    list_display = ("description", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
    fields = ("description", *CrontabForm.Meta.fields)
    readonly_fields = ("description",)

    @admin.display(description="description")
    def description(self, crontab: CrontabSchedule) -> str:
        return crontab_text(crontab)


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(CheckedInitialValues, HistoryTab, ModelAdmin):  # type: ignore[misc]  # untyped
    form = FixedTimeForm
    list_display = ("clocked_time",)

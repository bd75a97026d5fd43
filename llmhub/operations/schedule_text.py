"""Describe the schedules of periodic tasks, and compute their next runs."""

from __future__ import annotations

from datetime import datetime, timedelta

from celery.schedules import ParseException
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from llmhub.adminkit.times import exact_time

DISABLED = "never: disabled"
EXPIRED = "never: expired"
DONE = "never: already ran"
DUE = "due now"
IMPOSSIBLE = "never: no such date"
MAX_INTERVAL = timedelta(days=366)
"""The longest interval between two runs."""

# What computing with an unsatisfiable schedule raises.
SCHEDULE_ERRORS = (ValueError, OverflowError, RuntimeError, TypeError, ParseException)


def schedule_text(task: PeriodicTask) -> str:
    """Describe how often a task runs, e.g. “every 60 seconds”."""
    if task.crontab:
        return crontab_text(task.crontab)
    if task.clocked:
        return f"once, at {exact_time(task.clocked.clocked_time)}"
    return str(task.interval or task.solar or "no schedule")


def next_run_text(task: PeriodicTask, *, now: datetime) -> str:
    """Return when beat will send a task, or why it never will."""
    if not task.enabled:
        return DISABLED
    if task.expires and task.expires <= now:
        return EXPIRED
    if task.one_off and task.total_run_count:
        return DONE
    try:
        at = next_run_at(task, now=now)
        return DUE if at <= now else exact_time(at)
    except SCHEDULE_ERRORS:  # a row that no form validated
        return IMPOSSIBLE


def crontab_text(crontab: CrontabSchedule) -> str:
    try:
        return str(crontab.human_readable)
    except ParseException:  # a row that no form validated
        return f"not a crontab: {crontab}"


def crontab_fault(crontab: CrontabSchedule, *, now: datetime) -> str:
    """Return why a crontab never matches; empty if it does."""
    try:
        crontab.schedule.remaining_estimate(now)
    except SCHEDULE_ERRORS as error:
        return f"This never matches: {error}"
    return ""


def next_run_at(task: PeriodicTask, *, now: datetime) -> datetime:
    """Return when an enabled task is due, as beat computes it: from its last run, or else its last change.

    Errors: one of SCHEDULE_ERRORS for an unsatisfiable schedule.
    """
    if task.start_time and task.start_time > now:
        started: datetime = task.start_time
        return started
    if task.clocked:
        clocked: datetime = task.clocked.clocked_time
        return clocked
    last = task.last_run_at or task.date_changed or now
    if task.interval:
        every = timedelta(**{task.interval.period: task.interval.every})
        due_at: datetime = last + every
        return due_at
    remaining: timedelta = task.schedule.remaining_estimate(last)
    return now + remaining

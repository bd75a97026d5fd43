"""When periodic tasks are due, in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from celery.schedules import ParseException
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from llmhub.adminkit.times import exact_time

DISABLED = "never: disabled"
EXPIRED = "never: expired"
DONE = "never: it ran once"
DUE = "due now"
IMPOSSIBLE = "never: no such day or time comes"
LONGEST = timedelta(days=366)
"""How far apart two runs may lie at most."""

# What reckoning with a schedule that cannot come true runs into.
BEYOND_TIME = (ValueError, OverflowError, RuntimeError, TypeError, ParseException)


def spoken_schedule(task: PeriodicTask) -> str:
    """Say how often a task runs, e.g. “every 60 seconds”."""
    if task.crontab:
        return crontab_words(task.crontab)
    if task.clocked:
        return f"once, at {exact_time(task.clocked.clocked_time)}"
    return str(task.interval or task.solar or "no schedule")


def spoken_next_run(task: PeriodicTask, *, now: datetime) -> str:
    """Say when beat will send a task, or why it never will."""
    if not task.enabled:
        return DISABLED
    if task.expires and task.expires <= now:
        return EXPIRED
    if task.one_off and task.total_run_count:
        return DONE
    try:
        at = next_run_at(task, now=now)
        return DUE if at <= now else exact_time(at)
    except BEYOND_TIME:  # of a row that no form has seen
        return IMPOSSIBLE


def crontab_words(crontab: CrontabSchedule) -> str:
    try:
        return str(crontab.human_readable)
    except ParseException:  # of a row that no form has seen
        return f"not a crontab: {crontab}"


def crontab_fault(crontab: CrontabSchedule, *, now: datetime) -> str:
    """Say why a crontab never comes true; empty when it does."""
    try:
        crontab.schedule.remaining_estimate(now)
    except BEYOND_TIME as error:
        return f"This never comes true: {error}"
    return ""


def next_run_at(task: PeriodicTask, *, now: datetime) -> datetime:
    """Return when an enabled task is due, as beat reckons: from when it last ran, or else was last changed.

    Errors: one of BEYOND_TIME for a schedule that never comes true.
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
        due: datetime = last + every
        return due
    remaining: timedelta = task.schedule.remaining_estimate(last)
    return now + remaining

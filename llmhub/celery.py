"""The Celery application."""

import os

from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun

from llmhub.runtime.logs import forget_task, keep_logging, note_task

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")

app = Celery("llmhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["llmhub.operations"], related_name="task_results")

setup_logging.connect(keep_logging)
task_prerun.connect(note_task)
task_postrun.connect(forget_task)

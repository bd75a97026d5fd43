from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from llmhub.operations.models import Heartbeat, Service

pytestmark = pytest.mark.django_db


def test_a_part_heard_of_lately_passes():
    Heartbeat.objects.beat(Service.BEAT, now=timezone.now() - timedelta(seconds=20))

    call_command("alive", "beat")


@pytest.mark.parametrize("age", [timedelta(minutes=5), None], ids=["silent", "never-heard-of"])
def test_a_silent_part_fails(age):
    if age:
        Heartbeat.objects.beat(Service.BEAT, now=timezone.now() - age)

    with pytest.raises(CommandError, match="beat has not shown that it works"):
        call_command("alive", "beat")

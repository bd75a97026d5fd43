import pytest

from chat.history.models import Chat
from chat.ledger import tasks
from llmhub.celery import app
from tests.chat.ledger.test_reaper import open_chat


@pytest.mark.parametrize("name", ["chat.ledger.tasks.reap_open_chats", "chat.ledger.tasks.make_partitions"])
def test_the_worker_knows_the_task_and_bounds_its_time(name):
    app.loader.import_default_modules()

    task = app.tasks[name]

    assert 0 < task.soft_time_limit < task.time_limit


@pytest.mark.django_db
def test_reaping_says_how_many_it_closed():
    chat_id = open_chat(writer_silent_s=61)

    assert tasks.reap_open_chats() == 1
    assert Chat.objects.get(pk=chat_id).status == "lost"


@pytest.mark.django_db
def test_making_partitions_twice_makes_nothing_new():
    tasks.make_partitions()

    assert tasks.make_partitions() == []

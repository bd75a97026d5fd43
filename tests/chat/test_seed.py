from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DataError, ProgrammingError, connection, transaction
from django.utils import timezone

from chat.history.models import Chat, Cut, Granularity, UsageRollup
from chat.history.rebuild import rebuild_chats
from chat.history.rollups import DAY, roll_up
from chat.history.transcripts import get_transcript
from chat.ledger.append import append_events
from chat.ledger.entries import APPEND, WriterIdentity, append_parameters
from chat.ledger.models import ChatContent, ChatStatus, LedgerEvent, LedgerWriterRecord
from chat.seeding.history import APPEND_AT, PastLedger, SeedError
from chat.seeding.samples import APPLICATIONS, MODELS, start_times
from chat.seeding.seed import SeedPlan, seed
from llmhub.access.models import ApiKey, Application
from tests.chat.conftest import application_role, ledger_partitions
from tests.chat.ledger.samples import make_intent, new_chat_id

pytestmark = pytest.mark.django_db
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def begin_empty(empty_ledger: None) -> None:
    pass


def seed_chats(chats, *, days=14, **options):
    return list(seed(PastLedger("default"), SeedPlan(chats=chats, days=days, now=timezone.now()), **options))


def test_as_many_chats_are_made_up_as_were_asked_for():
    assert seed_chats(1500) == [1000, 1500]

    assert Chat.objects.count() == 1500
    assert set(Chat.objects.values_list("status", flat=True)) >= {ChatStatus.SUCCEEDED, ChatStatus.FAILED}
    assert len(Chat.objects.names("application", most=50)) == len(APPLICATIONS)
    assert len(Chat.objects.names("model_name", most=50)) == len(MODELS)


def test_made_up_chats_began_when_they_say():
    before = timezone.now()

    seed_chats(200, days=14)

    first, last = Chat.objects.order_by("started_at").first(), Chat.objects.order_by("started_at").last()
    assert before - timedelta(days=14) <= first.started_at < before - timedelta(days=12)
    assert before - timedelta(days=2) < last.started_at < timezone.now()
    assert list(Chat.objects.order_by("id")) == list(Chat.objects.order_by("started_at"))
    assert all(chat.id.int >> 80 == int(chat.started_at.timestamp() * 1000) for chat in Chat.objects.all())


def test_the_ledger_of_made_up_chats_is_sound():
    seed_chats(300)

    (writer,) = LedgerWriterRecord.objects.filter(role="seed")
    events = list(LedgerEvent.objects.filter(writer_id=writer.pk).order_by("writer_seq"))
    assert [event.writer_seq for event in events] == list(range(1, writer.last_seq + 1))
    assert events == sorted(events, key=lambda event: (event.at, event.id))
    assert {content.id for content in ChatContent.objects.all()} <= {event.id for event in events}


def test_made_up_chats_are_derived_again_from_their_events():
    seed_chats(100)
    made = list(Chat.objects.order_by("id").values())

    list(rebuild_chats(batch_chats=30))

    assert list(Chat.objects.order_by("id").values()) == made


def test_a_conversation_goes_on_over_several_chats():
    seed_chats(400)

    turns = Counter(Chat.objects.exclude(conversation="").values_list("conversation", flat=True))
    conversation, chats = turns.most_common(1)[0]
    lengths = [len(get_transcript(chat.pk).turns) for chat in Chat.objects.filter(conversation=conversation)]
    assert chats > 2
    assert max(lengths) > min(lengths)


def test_the_months_of_the_past_get_their_partitions():
    seed_chats(50, days=70)

    month = (timezone.now() - timedelta(days=65)).strftime("%Y_%m")
    assert {f"ledger_ledgerevent_{month}", f"ledger_chatcontent_{month}"} <= set(ledger_partitions())


def test_what_was_stopped_goes_on_where_it_was():
    plan = SeedPlan(chats=2500, days=14, now=timezone.now())
    stopped = seed(PastLedger("default"), plan)

    next(stopped)
    stopped.close()
    held = Chat.objects.count()
    list(seed(PastLedger("default"), plan))

    assert held % 1000 == 0
    assert not Chat.objects.filter(status=ChatStatus.STARTED).exclude(pk__in=newest(3)).exists()
    assert Chat.objects.count() == 2500


def newest(count):
    return list(Chat.objects.order_by("-id").values_list("pk", flat=True)[:count])


def test_nothing_is_added_where_there_are_enough():
    seed_chats(20)

    assert seed_chats(10) == []

    assert Chat.objects.count() == 20


def test_made_up_chats_are_summed_up_in_hours_that_were_summed_before():
    roll_up(now=timezone.now())

    seed_chats(200, days=5)

    assert count_summed() == 200


def test_what_was_seeded_before_someone_stopped_is_summed_up_too():
    roll_up(now=timezone.now())
    seeding = seed(PastLedger("default"), SeedPlan(chats=3000, days=5, now=timezone.now()))

    next(seeding)
    seeding.close()

    assert count_summed() == Chat.objects.count() >= 1000


def count_summed():
    now = timezone.now()
    roll_up(now=now)
    hours = UsageRollup.objects.of(Granularity.HOUR, Cut.HUB, since=now - 20 * DAY)
    return sum(hours.values_list("chats", flat=True))


def test_real_chats_are_not_hidden_among_made_up_ones():
    append_events([make_intent(new_chat_id())])

    with pytest.raises(SeedError, match="holds 1 real chats"):
        seed_chats(10)
    seed_chats(10, is_forced=True)

    assert Chat.objects.count() == 11


def test_only_the_owner_of_the_ledger_can_seed_it():
    with application_role(), pytest.raises(SeedError, match="DATABASE_OWNER_URL"):
        PastLedger("default")


@pytest.mark.parametrize(
    "ats",
    [
        pytest.param([], id="none"),
        pytest.param([SUNDAY, SUNDAY], id="too-many"),
        pytest.param([None], id="unknown"),
    ],
)
def test_each_event_of_the_past_has_its_time(ats):
    identity = add_writer(role="seed")

    with pytest.raises(DataError, match="Each event has a time"), transaction.atomic():
        append_at(ats, identity)

    assert not LedgerEvent.objects.exists()


def test_not_even_the_owner_gives_times_to_chats_that_do_not_show_as_made_up():
    identity = add_writer(role="web")

    with pytest.raises(ProgrammingError, match="Only made-up chats"), transaction.atomic():
        append_at([SUNDAY], identity)

    assert not LedgerEvent.objects.exists()


def test_times_are_for_the_one_batch_that_they_are_given_for():
    identity = add_writer(role="seed")
    append_at([SUNDAY], identity)

    with connection.cursor() as cursor:
        cursor.execute(APPEND, append_parameters(identity, [make_intent(new_chat_id())]))

    first, second = LedgerEvent.objects.filter(writer_id=identity.writer_id).order_by("writer_seq")
    assert first.at == SUNDAY
    assert timezone.now() - second.at < timedelta(minutes=1)


def add_writer(*, role):
    identity = WriterIdentity()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_ledgerwriterrecord (writer_id, secret_hash, role) VALUES (%s, sha256(%s), %s)",
            (identity.writer_id, identity.secret, role),
        )
    return identity


def append_at(ats, identity):
    with connection.cursor() as cursor:
        cursor.execute(APPEND_AT, (ats, *append_parameters(identity, [make_intent(new_chat_id())])))


def test_made_up_applications_let_nobody_in():
    seed_chats(10)

    assert Application.objects.filter(name__in=APPLICATIONS, is_active=False).count() == len(APPLICATIONS)
    assert not ApiKey.objects.filter(application__name__in=APPLICATIONS).exists()


def test_days_are_busier_than_nights_and_weekends():
    starts = list(start_times(20_000, since=SUNDAY - timedelta(days=14), until=SUNDAY, rng=random.Random(1)))

    by_hour = Counter(at.hour for at in starts)
    by_day = Counter(at.weekday() for at in starts)
    assert len(starts) == 20_000
    assert starts == sorted(starts)
    assert by_hour[14] > 5 * by_hour[2]
    assert by_day[1] > 2 * by_day[5]


def test_the_command_tells_what_it_did():
    told = StringIO()

    call_command("seed", chats=30, days=1.0, stdout=told)

    assert "30 made-up chats after" in told.getvalue()
    assert Chat.objects.count() == 30


@pytest.mark.parametrize("options", [{"chats": 0}, {"days": 0.0}, {"days": 1000.0}])
def test_the_command_refuses_what_it_cannot_do(options):
    with pytest.raises(CommandError, match="at least one chat"):
        call_command("seed", **options)


def test_the_command_says_why_it_does_nothing():
    append_events([make_intent(new_chat_id())])

    with pytest.raises(CommandError, match="--force") as refusal:
        call_command("seed", chats=1_000_000)

    words = str(refusal.value)
    assert "1,000,000 made-up ones would be loaded" in words
    assert "`make seed CHATS=200 FORCE=1`" in words
    assert "`make seed FORCE=1`" not in words

from dataclasses import replace

import pytest

from tests.chaos.promises import Event, Evidence, Hit, Row, Seat, Told, Window, violations

WRITER = "w1"
PID = 41


def event(seq, kind, chat_id, **more):
    values = {"id": f"e{seq}", "writer_id": WRITER, "committed_at_s": float(seq), **more}
    return Event(kind=kind, chat_id=chat_id, writer_seq=seq, **values)


def told(marker, chat_id, **more):
    return Told(marker=marker, chat_id=chat_id, **{"asked_at_s": 0.5, "ended_at_s": 9.0, "status": 200, **more})


OPENED = event(1, "intent", "c1", body='{"content":"m1"}')
CLOSED = event(2, "outcome", "c1", status="succeeded", body='{"answer":"for m1"}')
OPENED_IN_VAIN = event(3, "intent", "c2", body='{"content":"m2"}')
GIVEN_UP = event(1, "outcome", "c2", status="lost", id="r1", writer_id="reaper", committed_at_s=8.0)
REFUSED = event(4, "void", "c3", body='{"content":"m3"}', status="rejected")
ROWS = frozenset({Row("c1", "succeeded", "e2"), Row("c2", "lost", "r1"), Row("c3", "rejected", "e4")})

SOUND = Evidence(
    hits=(Hit("m1", 1.5), Hit("m2", 3.5)),
    told=(
        told("m1", "c1", text="for m1", is_whole=True),
        told("m2", None, status=None),
        told("m3", "c3", status=400),
        told("m4", None, status=503, error_code="record_unavailable", asked_at_s=11, ended_at_s=12),
    ),
    events=(OPENED, CLOSED, OPENED_IN_VAIN, GIVEN_UP, REFUSED),
    seats=(Seat(WRITER, PID, 4), Seat("reaper", 42, 1)),
    rows=ROWS,
    rebuilt=ROWS,
    killed=frozenset({PID}),
    refusing=(Window(10, 20),),
)


def without(*gone):
    return tuple(e for e in SOUND.events if e not in gone)


def rows(*more, without_id):
    found = frozenset({*(row for row in ROWS if row.id != without_id), *more})
    return {"rows": found, "rebuilt": found}


def test_a_sound_record_breaks_no_promise():
    assert violations(SOUND) == []


def test_a_lost_chat_may_get_its_true_outcome_late():
    late = event(5, "outcome", "c2", status="failed")
    seats = (Seat(WRITER, PID, 5), Seat("reaper", 42, 1))

    evidence = replace(SOUND, events=(*SOUND.events, late), seats=seats)

    assert violations(evidence) == []


def test_what_earlier_trials_left_is_not_told_again():
    orphan = event(5, "outcome", "c9", committed_at_s=-1.0)
    seats = (Seat(WRITER, PID, 5), Seat("reaper", 42, 1))

    evidence = replace(SOUND, events=(*SOUND.events, orphan), seats=seats)

    assert violations(evidence) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        pytest.param(
            {"hits": (*SOUND.hits, Hit("m4", 30.0))},
            "m4: the provider was asked, and there is no intent",
            id="no-intent",
        ),
        pytest.param(
            {"hits": (*SOUND.hits, Hit("m3", 30.0))},
            "m3: the provider was asked, and there is no intent",
            id="void-only",
        ),
        pytest.param(
            {"hits": (Hit("m1", 0.99), Hit("m2", 3.5))},
            "m1: the provider was asked 10.0 ms before the intent was committed",
            id="intent-after-the-call",
        ),
        pytest.param(
            {"told": (told("m9", "c9", text="for m9", is_whole=True),)},
            "m9: a whole answer was given, and no chat of that id is recorded",
            id="answer-of-no-chat",
        ),
        pytest.param(
            {"told": (told("m1", "c2", text="for m1", is_whole=True),)},
            "m1: a whole answer was given, and no chat of that id is recorded",
            id="answer-under-another-id",
        ),
        pytest.param(
            {"told": (told("m1", "c1", text="for you", is_whole=True),)},
            "m1: a whole answer was given, and no outcome holds it",
            id="another-answer",
        ),
        pytest.param(
            {"told": (told("m2", "c2", text="for m2", is_whole=True),)},
            "m2: a whole answer was given, and no outcome holds it",
            id="answer-of-a-lost-chat",
        ),
        pytest.param(
            rows(Row("c1", "failed", "e2"), without_id="c1"),
            "m1: a whole answer was given, and the table of chats does not say so",
            id="row-of-another-story",
        ),
        pytest.param(
            {"events": without(REFUSED), "rows": ROWS, "rebuilt": ROWS},
            "writer w1: numbers missing [4], too many []",
            id="last-number-missing",
        ),
        pytest.param(
            {"events": (*SOUND.events, event(4, "read", "c3", id="e5"))},
            "writer w1: numbers missing [], too many [4]",
            id="number-twice",
        ),
        pytest.param(
            {"events": (*SOUND.events, event(1, "read", "c3", id="e6", writer_id="w2"))},
            "writer w2: numbers missing [], too many [1]",
            id="writer-without-a-seat",
        ),
        pytest.param(
            {"events": (*SOUND.events, event(5, "intent", "c1")), "seats": (Seat(WRITER, PID, 5), SOUND.seats[1])},
            "chat c1: its events are intent, outcome, intent",
            id="opened-twice",
        ),
        pytest.param(
            {
                "events": (*SOUND.events, event(5, "outcome", "c1", status="failed")),
                "seats": (Seat(WRITER, PID, 5), SOUND.seats[1]),
            },
            "chat c1: its events are intent, outcome, outcome",
            id="ended-twice",
        ),
        pytest.param(
            {"events": (*SOUND.events, event(5, "outcome", "c3")), "seats": (Seat(WRITER, PID, 5), SOUND.seats[1])},
            "chat c3: its events are void, outcome",
            id="refused-and-ended",
        ),
        pytest.param(
            {"events": (*SOUND.events, event(5, "outcome", "c5")), "seats": (Seat(WRITER, PID, 5), SOUND.seats[1])},
            "chat c5: its events are outcome",
            id="outcome-of-nothing",
        ),
        pytest.param(
            {"rebuilt": ROWS - {Row("c3", "rejected", "e4")}},
            "chat c3: rejected stands only before the chats were derived again",
            id="row-without-events",
        ),
        pytest.param(
            {"rebuilt": ROWS | {Row("c4", "started", None)}},
            "chat c4: started stands only after the chats were derived again",
            id="row-missing",
        ),
        pytest.param(rows(Row("c2", "started", None), without_id="c2"), "chat c2: left open", id="left-open"),
        pytest.param(
            {"events": without(GIVEN_UP), "seats": SOUND.seats[:1]},
            "chat c2: an intent without an outcome",
            id="no-outcome",
        ),
        pytest.param(
            {"killed": frozenset()}, "chat c2: lost, though its process was not killed", id="lost-by-the-living"
        ),
        pytest.param(
            {"refusing": (Window(0.4, 2.0),)},
            "m1: the provider was asked while the record could not be written",
            id="asked-while-refusing",
        ),
        pytest.param(
            {"told": (*SOUND.told, told("m5", None, status=500, asked_at_s=11, ended_at_s=12))},
            "m5: told 500 None while the record could not be written",
            id="not-refused",
        ),
    ],
)
def test_each_broken_promise_is_found(change, violation):
    assert violation in violations(replace(SOUND, **change))

"""The record under fire, at length: every fault under the load of many callers. Run by `make soak`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from llmhub.embedded.accounts import get_postgres_account
from tests.chaos.conftest import Site, running_site, trial_on
from tests.chaos.scenes import record_intents_late, stop_amid_streams
from tests.chaos.trial import Trial, set_read_only
from tests.chat.ledger.proxy import Proxy, proxied
from tests.live import until
from tests.llmhub.embedded.conftest import passable_folder

pytestmark = pytest.mark.soak

CALLERS = 32
KILLS = 20
PROCESSES = 2
DISK = "128m"
GROWTH_BYTES = 1 << 20
WAITING = "The configuration cannot be read"


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[Site]:
    with running_site(home, processes=PROCESSES, has_tasks=True) as site:
        yield site


@pytest.fixture
def trial(site: Site, name: str) -> Iterator[Trial]:
    with trial_on(site, name, callers=CALLERS) as trial:
        yield trial


def test_twenty_killed_web_processes_leave_no_chat_unrecorded(trial):
    open_at_death = set()
    for number in range(KILLS):
        open_at_death |= trial.begin("long", count=4)
        trial.until_told(trial.random.randrange(1, 100))
        trial.note_fire()
        if number % 2:
            trial.hub.web.kill_one_below(trial.random)
            trial.until_told(CALLERS)
        else:
            trial.hub.web.kill()
            trial.hub.start_web()
        trial.until_recovered()
        print(f"kill {number + 1} of {KILLS}: {len(trial.told)} chats so far", flush=True)

    assert trial.verdict() == []
    assert {trial.status_of(told) for told in trial.told if told.marker in open_at_death} <= {"lost", "succeeded"}
    assert sum(trial.status_of(told) == "lost" for told in trial.told) >= KILLS


def test_a_crash_of_postgres_under_load_costs_no_record(trial):
    for _ in range(3):
        trial.until_told(trial.random.randrange(1, 100))
        trial.note_fire()
        trial.hub.postgres.kill_first()
        trial.hub.postgres.bring_back()
        trial.until_recovered()

    assert trial.verdict() == []


def test_a_killed_backend_of_postgres_costs_no_record(trial):
    for _ in range(3):
        trial.until_told(trial.random.randrange(1, 100))
        with trial.hub.connect() as connection:
            (pid,) = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'llmhub ledger%' LIMIT 1"
            ).fetchone()
        trial.note_fire()
        psutil.Process(pid).kill()
        trial.until_recovered()

    assert trial.verdict() == []


def test_while_postgres_is_dead_callers_are_refused_and_no_provider_is_asked(trial):
    trial.note_fire()
    trial.hub.postgres.kill_first()
    with trial.in_refusal(count=300):
        pass
    trial.hub.postgres.bring_back()
    trial.until_recovered()

    assert trial.verdict() == []


def test_a_web_process_that_starts_while_postgres_is_dead_serves_once_it_is_back(trial):
    trial.note_fire()
    trial.hub.web.kill()
    trial.hub.postgres.kill_first()
    before = trial.hub.web.log_text().count(WAITING)
    trial.hub.web.start()
    until(lambda: trial.hub.web.log_text().count(WAITING) > before + PROCESSES, within_s=60)
    trial.hub.postgres.start()
    trial.hub.web.until_ready()
    trial.until_recovered()

    assert trial.verdict() == []


def test_while_postgres_says_nothing_callers_are_refused_and_no_provider_is_asked(trial):
    for _ in range(3):
        trial.until_told(trial.random.randrange(1, 100))
        trial.note_fire()
        with trial.hub.postgres.paused(), trial.in_refusal(count=60):
            pass
        trial.until_recovered()

    assert trial.verdict() == []


def test_while_the_network_to_postgres_is_dead_callers_are_refused_and_no_provider_is_asked(trial):
    url = trial.hub.env["DATABASE_URL"]
    account = urlsplit(url).netloc.rpartition("@")[0]
    with running_proxy(trial, url) as proxy:
        trial.hub.web.stop()
        through = f"postgresql://{account}@127.0.0.1:{proxy.port}/llmhub?sslmode=disable&gssencmode=disable"
        try:
            trial.hub.start_web(DATABASE_URL=through)
            for _ in range(3):
                trial.until_recovered()
                trial.until_told(trial.random.randrange(1, 100))
                trial.note_fire()
                trial.fire.do(proxy.speaks.clear)
                with trial.in_refusal(count=60):
                    pass
                trial.fire.do(proxy.speaks.set)
            trial.until_recovered()
            broken = trial.verdict()
        finally:
            trial.hub.web.kill()
            trial.hub.start_web()

    assert broken == []


@contextmanager
def running_proxy(trial: Trial, url: str) -> Iterator[Proxy]:
    """Run it on the loop of the load."""
    context = proxied(url)
    proxy = trial.fire.run(context.__aenter__())
    try:
        yield proxy
    finally:
        trial.fire.run(context.__aexit__(None, None, None))


def test_while_postgres_is_read_only_callers_are_refused_and_no_provider_is_asked(trial):
    trial.note_fire()
    set_read_only(trial.hub, is_on=True)
    try:
        trial.until_refused(count=CALLERS)
        with trial.in_refusal(count=200):
            pass
    finally:
        set_read_only(trial.hub, is_on=False)
    trial.until_recovered()

    assert trial.verdict() == []


def test_chats_go_on_while_redis_is_dead(trial):
    trial.note_fire()
    trial.hub.valkey.kill()
    trial.until_recovered(count=300)
    trial.hub.valkey.bring_back()
    trial.until_recovered()

    assert trial.verdict() == []
    assert {told.status for told in trial.told} <= {200, None}


def test_chats_go_on_while_redis_says_nothing(trial):
    trial.note_fire()
    with trial.hub.valkey.paused():
        trial.until_recovered(count=300)
    trial.until_recovered()

    assert trial.verdict() == []
    assert {told.status for told in trial.told} <= {200, None}


@pytest.mark.parametrize("which", ["worker", "beat"])
def test_chats_go_on_while_tasks_are_dead(trial, which):
    server = getattr(trial.hub, which)
    trial.note_fire()
    server.kill()
    trial.until_recovered(count=300)
    server.start()
    trial.until_recovered()

    assert trial.verdict() == []
    assert {told.status for told in trial.told} <= {200, None}


def test_streams_under_way_at_a_stop_end_whole_and_recorded(trial):
    stop_amid_streams(trial, count=20)


def test_a_hub_that_is_stopped_and_started_again_loses_nothing(trial):
    parts = (trial.hub.web, trial.hub.worker, trial.hub.beat, trial.hub.valkey, trial.hub.postgres)
    trial.note_fire()
    for part in parts:
        part.stop()
    for part in (trial.hub.postgres, trial.hub.valkey):
        part.bring_back()
    trial.hub.worker.start()
    trial.hub.beat.start()
    trial.hub.start_web()
    trial.until_recovered()

    assert trial.verdict() == []
    assert all(trial.status_of(told) != "lost" for told in trial.told)


def test_a_hub_that_records_the_intent_after_the_call_is_found_out(trial):
    record_intents_late(trial)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Yield a home whose database has a disk of its own, a small one."""
    with passable_folder() as folder:
        home = folder / "home"
        (home / "postgres").mkdir(parents=True)
        account = get_postgres_account()
        options = f"size={DISK},mode=0710,uid={account.uid},gid={account.gid}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home / "postgres")]
        with suppress(FileNotFoundError):
            if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
                try:
                    yield home
                finally:
                    subprocess.run(["umount", "--lazy", str(home / "postgres")], check=True)
                return
        pytest.skip("Filling a disk needs one that is small, and this user may not mount it.")


def test_while_the_disk_of_postgres_is_full_no_provider_is_asked_without_a_record(small_disk, name):
    with (
        running_site(small_disk, processes=PROCESSES, has_tasks=False) as site,
        trial_on(site, name, callers=CALLERS) as trial,
    ):
        trial.note_fire()
        filling = fill(small_disk / "postgres")
        trial.until_refused(count=200)
        filling.unlink()
        trial.hub.postgres.until_back()
        trial.until_recovered()

        assert trial.verdict() == []


def fill(folder: Path) -> Path:
    """Leave no room on the disk of this folder."""
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(GROWTH_BYTES))
    with filling.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    return filling

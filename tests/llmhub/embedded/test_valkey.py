import socket
from collections.abc import Iterator
from functools import partial

import psutil
import pytest
import redis
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmhub.embedded import valkey
from llmhub.embedded.child_processes import Child, Guard, wait_until
from llmhub.embedded.ports import get_loopback_port
from llmhub.embedded.valkey import Valkey
from tests.stack import stopping

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Valkey, Child]]:
    found = valkey.new_valkey(tmp_path_factory.mktemp("valkey") / "valkey.log")
    with Guard() as guard, stopping(guard, guard.start(valkey.get_command(found))) as child:
        wait_until(partial(valkey.is_ready, found), child, timeout_s=10)
        yield found, child


def test_both_clients_take_its_url(server):
    with redis.from_url(server[0].url) as client, Connection(server[0].url) as broker:
        broker.ensure_connection(max_retries=1)

        assert client.ping()


def test_who_has_no_password_is_refused(server):
    at_once = Retry(NoBackoff(), retries=0)

    with redis.Redis(port=server[0].port, retry=at_once) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_its_password_shows_nowhere(server):
    found, child = server
    process = psutil.Process(child.process.pid)

    shown = [*process.cmdline(), *process.environ().values(), found.log.read_text(), repr(found), repr(child)]

    assert not any(found.password in text for text in shown)


def test_a_stranger_on_its_port_is_not_taken_for_it(server, tmp_path):
    found, _ = server
    ours = Valkey(port=found.port, password="another", log=tmp_path / "log")
    shares_its_log = Valkey(port=found.port, password="another", log=found.log)

    assert not valkey.is_ready(ours)
    assert not valkey.is_ready(shares_its_log)


def test_a_stranger_on_its_port_is_not_told_the_password(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        ours = Valkey(port=stranger.getsockname()[1], password="secret", log=tmp_path / "log")

        assert not valkey.is_ready(ours)
        with pytest.raises(BlockingIOError):
            stranger.accept()


def test_a_free_port_is_kept_and_a_taken_one_is_replaced(server):
    taken = server[0].port
    free = get_loopback_port()

    assert get_loopback_port(free) == free
    assert get_loopback_port(taken) != taken

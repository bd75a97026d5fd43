import resource

import pytest

from llmhub.http.connection_bounds import (
    MAX_FILES,
    ConnectionBounds,
    address_group,
    connections_for,
    raise_file_limit,
)


class Connection:
    def __init__(self, *, is_silent=True):
        self.is_silent = is_silent
        self.is_dropped = False

    def drop(self):
        self.is_dropped = True


@pytest.fixture
def bounds():
    found = ConnectionBounds()
    found.max_total, found.max_per_address = 5, 3
    return found


def test_the_one_that_was_silent_longest_makes_room_for_a_new_one(bounds):
    first, second, third, new = (Connection() for _ in range(4))
    for connection in (first, second, third):
        assert bounds.enter("192.0.2.1", connection)
    bounds.note("192.0.2.1", first)

    assert bounds.enter("192.0.2.1", new)

    assert [c.is_dropped for c in (first, second, third, new)] == [False, True, False, False]


def test_those_on_which_nothing_was_heard_make_room_before_one_that_has_asked_before(bounds):
    caller, *strangers, new = (Connection() for _ in range(4))
    bounds.enter("192.0.2.1", caller)
    bounds.note("192.0.2.1", caller)
    for connection in strangers:
        bounds.enter("192.0.2.1", connection)

    assert bounds.enter("192.0.2.1", new)

    assert [c.is_dropped for c in (caller, *strangers, new)] == [False, True, False, False]


def test_what_is_at_work_makes_no_room(bounds):
    busy = [Connection(is_silent=False) for _ in range(3)]
    for connection in busy:
        bounds.enter("192.0.2.1", connection)

    assert not bounds.enter("192.0.2.1", Connection())
    assert not any(connection.is_dropped for connection in busy)
    bounds.leave("192.0.2.1", busy[0])
    assert bounds.enter("192.0.2.1", Connection())


def test_one_address_makes_no_room_for_itself_at_the_cost_of_another(bounds):
    other = Connection()
    bounds.enter("192.0.2.2", other)

    for _ in range(10):
        assert bounds.enter("192.0.2.1", Connection())

    assert not other.is_dropped


def test_when_all_is_full_the_address_with_the_most_makes_room(bounds):
    hog, other = [Connection() for _ in range(3)], [Connection() for _ in range(2)]
    for address, connections in (("192.0.2.1", hog), ("192.0.2.2", other)):
        for connection in connections:
            bounds.enter(address, connection)

    assert bounds.enter("192.0.2.3", Connection())

    assert [c.is_dropped for c in (*hog, *other)] == [True, False, False, False, False]


def test_when_the_address_with_the_most_is_all_at_work_another_makes_room(bounds):
    busy, silent = [Connection(is_silent=False) for _ in range(3)], [Connection() for _ in range(2)]
    for address, connections in (("192.0.2.1", busy), ("192.0.2.2", silent)):
        for connection in connections:
            bounds.enter(address, connection)

    assert bounds.enter("192.0.2.3", Connection())

    assert [c.is_dropped for c in (*busy, *silent)] == [False, False, False, True, False]


def test_leaving_twice_counts_once(bounds):
    gone = Connection()
    bounds.enter("192.0.2.1", gone)
    bounds.leave("192.0.2.1", gone)
    bounds.leave("192.0.2.1", gone)

    for n in range(5):
        assert bounds.enter(f"192.0.2.{n}", Connection(is_silent=False))
    assert not bounds.enter("192.0.2.9", Connection())


@pytest.mark.parametrize(
    ("address", "group"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="IPv4"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="IPv4 in IPv6"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", id="IPv6"),
        pytest.param("", "", id="none"),
    ],
)
def test_addresses_that_one_caller_has_count_as_one(address, group):
    assert address_group(address) == group


def test_the_soft_limit_of_files_is_raised_to_the_hard_one():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most // 2, 512), hard))
    try:
        assert raise_file_limit() == most
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most
        assert raise_file_limit() == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_leave_room_for_as_many_to_providers():
    assert 2 * connections_for(1024) + 256 <= 1024
    assert connections_for(1_000_000) == 8192
    assert connections_for(100) == 1

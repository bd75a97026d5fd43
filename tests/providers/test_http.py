import asyncio
import gc
import inspect
import socket
import struct
from contextlib import suppress

import aiohttp
import httpx
import pytest

from providers.errors import (
    AnswerTooLargeError,
    ConfigurationError,
    MalformedReplyError,
    ProviderError,
    ProviderTimeoutError,
    UnreachableError,
    UpstreamError,
)
from providers.http import STEP_BYTES, ConnectionWatch, HttpCall, HttpClient, HttpReply, find_failure
from providers.types import Timeouts
from tests import fakes
from tests.fakes import FakeProvider
from tests.providers.serving import saying, serving

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LONG_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
CHAT = b'{"model": "m", "messages": [], "stream": true}'


@pytest.fixture
async def client():
    async with HttpClient() as client:
        yield client


def make_call(url, *, content=b"{}", connect_s=2.0, read_s=2.0, headers=None):
    timeouts = Timeouts(connect_s=connect_s, read_s=read_s)
    return HttpCall(method="POST", url=url, timeouts=timeouts, headers=headers or {}, content=content)


async def fetched(client, url, **options):
    async with await client.send(make_call(url, **options)) as reply:
        return reply.status, await reply.read()


async def drop(head, writer):
    """Close the connection without a word."""


async def reset(head, writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
def full_port():
    """A port that accepts no connection and refuses none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


async def test_a_watch_notes_how_far_a_connection_came(free_port):
    reached, refused = ConnectionWatch(), ConnectionWatch()

    async with serving(saying(OK)) as port, HttpClient(watch=reached) as client:
        await fetched(client, f"http://localhost:{port}/")
    async with HttpClient(watch=refused) as client:
        with pytest.raises(UnreachableError):
            await fetched(client, f"http://127.0.0.1:{free_port}/")

    assert reached.started_s <= reached.lookup_started_s <= reached.looked_up_s <= reached.connected_s
    assert refused.started_s is not None
    assert (refused.lookup_started_s, refused.looked_up_s, refused.connected_s) == (None, None, None)


async def test_a_refused_connection_was_never_sent(client, free_port):
    with pytest.raises(UnreachableError) as caught:
        await fetched(client, f"http://127.0.0.1:{free_port}/")

    assert str(caught.value) == f"connection refused by 127.0.0.1:{free_port}"


async def test_a_connection_that_does_not_come_about_was_never_sent(client, full_port):
    with pytest.raises(UnreachableError, match=r"no connection to 127\.0\.0\.1:\d+ within 0\.1 s"):
        await fetched(client, f"http://127.0.0.1:{full_port}/", connect_s=0.1)


async def test_a_name_without_address_was_never_sent(client, resolve):
    resolve()

    with pytest.raises(UnreachableError, match=r"^DNS name not found: nowhere\.example$"):
        await fetched(client, "https://nowhere.example/v1")


async def test_an_untrusted_certificate_was_never_sent(client, untrusted_tls):
    async with serving(saying(OK), ssl=untrusted_tls) as port:
        with pytest.raises(UnreachableError, match=r"^TLS certificate not valid: self-signed certificate$"):
            await fetched(client, f"https://127.0.0.1:{port}/")


async def test_a_server_without_tls_was_never_sent(client):
    async with serving(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        with pytest.raises(UnreachableError):
            await fetched(client, f"https://127.0.0.1:{port}/", connect_s=0.5)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(drop, "connection closed by", id="dropped"),
        pytest.param(reset, "connection reset by", id="reset"),
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.7\r\n\r\n"), "does not answer in HTTP", id="not-http"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"), "in mid-reply", id="cut"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"),
            "in mid-reply",
            id="cut-chunked",
        ),
    ],
)
async def test_a_connection_lost_after_sending_is_the_providers_fault(client, answer, words):
    async with serving(answer) as port:
        with pytest.raises(UpstreamError, match=r"127\.0\.0\.1") as caught:
            await fetched(client, f"http://127.0.0.1:{port}/")

    assert words in str(caught.value)


@pytest.mark.parametrize("beginning", [b"", LONG_HEAD + b"ok"])
async def test_silence_after_sending_is_a_timeout(client, beginning):
    over = asyncio.Event()

    async def stall(head, writer):
        writer.write(beginning)
        await over.wait()

    async with serving(stall) as port:
        with pytest.raises(ProviderTimeoutError, match=r"no answer from 127\.0\.0\.1:\d+ within 0\.05 s"):
            await fetched(client, f"http://127.0.0.1:{port}/", read_s=0.05)
        over.set()


def test_every_exception_of_the_libraries_below_is_mapped():
    abstract = {aiohttp.ClientError, httpx.HTTPError, httpx.RequestError, httpx.TransportError}
    not_of_requests = (
        httpx.HTTPStatusError,  # raised on demand only
        httpx.StreamError,  # of misuse
        httpx.CookieConflict,
        httpx.TooManyRedirects,
        aiohttp.TooManyRedirects,
        aiohttp.client_exceptions.RedirectClientError,
        aiohttp.WSMessageTypeError,
        aiohttp.WSServerHandshakeError,
        aiohttp.WebSocketError,
        aiohttp.EofStream,
        aiohttp.BadContentDispositionHeader,
        aiohttp.BadContentDispositionParam,
    )
    found = [value for module in (aiohttp, httpx, aiohttp.client_exceptions) for value in vars(module).values()]

    exceptions = {kind for kind in found if inspect.isclass(kind) and issubclass(kind, Exception)} - abstract
    unmapped = {kind for kind in exceptions if not issubclass(kind, not_of_requests) and not find_failure(kind)}

    assert unmapped == set()


FORBIDDEN = {
    "metadata": ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    "link-local": ("169.254.0.1", "fe80::1"),
    "private": ("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fc00::1", "fd12::1", "0.0.0.0", "::"),
    "embedded": ("::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "2002:a00:1::"),
}


@pytest.mark.parametrize("address", [address for addresses in FORBIDDEN.values() for address in addresses])
async def test_a_forbidden_address_is_not_connected_to(client, resolve, address):
    literal = f"[{address}]" if ":" in address else address

    with pytest.raises(ConfigurationError, match=r"never allowed|private or reserved"):
        await fetched(client, f"http://{literal}/latest/meta-data/")
    resolve(address)
    with pytest.raises(ConfigurationError, match=r"^metadata\.google\.internal: .*(never allowed|private or reserved)"):
        await fetched(client, "http://metadata.google.internal/")


async def test_a_name_for_this_machine_is_not_connected_to_unless_that_is_allowed(resolve):
    async with serving(saying(OK)) as port, HttpClient(allowed_private_hosts=()) as client:
        resolve("127.0.0.1")

        with pytest.raises(ConfigurationError, match="private or reserved"):
            await fetched(client, f"http://innocent.example:{port}/")


async def test_a_name_is_looked_up_once_for_each_connection(client, monkeypatch):
    asked = []

    def rebind(host, port, *rest, **options):
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebind)

    async with serving(saying(OK)) as port:
        assert await fetched(client, f"http://rebound.example:{port}/") == (200, b"ok")

    assert asked == ["rebound.example"]


async def test_a_name_that_is_rebound_changes_nothing_for_a_kept_connection(client, resolve):
    with FakeProvider("custom") as fake:
        url = f"http://rebound.example:{fake.port}/v1/chat/completions"
        resolve("127.0.0.1")
        before = await fetched(client, url, content=CHAT)
        resolve("169.254.169.254")
        after = await fetched(client, url, content=CHAT)

    assert (before[0], after[0], fake.connections) == (200, 200, 1)


async def test_a_name_that_is_rebound_is_judged_anew_by_the_next_connection(resolve):
    async with serving(saying(OK)) as port:
        url = f"http://rebound.example:{port}/"
        resolve("127.0.0.1")
        async with HttpClient() as first:
            assert await fetched(first, url) == (200, b"ok")

        resolve("169.254.169.254")
        async with HttpClient() as second:
            with pytest.raises(ConfigurationError, match="never allowed"):
                await fetched(second, url)


async def test_a_redirect_takes_no_key_anywhere(client):
    with FakeProvider("custom") as fake, FakeProvider("custom") as other:
        fake.fail(fakes.redirect(f"{other.url}/chat/completions"))

        statuses = []
        with suppress(ProviderError):  # of whoever it would be led to
            status, _ = await fetched(
                client, f"{fake.url}/chat/completions", content=CHAT, headers={"authorization": "Bearer canary"}
            )
            statuses.append(status)

    assert (statuses, fake.connections, other.connections) == ([307], 1, 0)


async def test_a_name_is_connected_to_at_its_permitted_addresses_only(client, resolve):
    async with serving(saying(OK)) as port:
        resolve("169.254.169.254", "127.0.0.1", "10.0.0.1")

        assert await fetched(client, f"http://mixed.example:{port}/") == (200, b"ok")


async def test_what_is_allowed_is_said_by_the_caller(resolve):
    async with serving(saying(OK)) as port, HttpClient(allowed_private_hosts=["box.example"]) as client:
        resolve("127.0.0.1")

        assert await fetched(client, f"http://box.example:{port}/") == (200, b"ok")
        with pytest.raises(ConfigurationError):
            await fetched(client, f"http://127.0.0.1:{port}/")


async def test_the_environment_has_no_say(client, monkeypatch, free_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port}")

    async with serving(saying(OK)) as port, HttpClient() as client_made_now:
        assert await fetched(client, f"http://127.0.0.1:{port}/") == (200, b"ok")
        assert await fetched(client_made_now, f"http://127.0.0.1:{port}/") == (200, b"ok")


async def test_a_kept_connection_that_the_provider_just_closed_is_replaced(client):
    heads = []

    async def answer_and_close(head, writer):
        heads.append(head)
        writer.write(OK)

    async with serving(answer_and_close) as port:
        replies = [await fetched(client, f"http://127.0.0.1:{port}/{number}") for number in range(8)]

    assert replies == [(200, b"ok")] * 8
    assert [head.split(b" ")[1] for head in heads] == [b"/%d" % number for number in range(8)]


async def test_redirects_are_not_followed_and_cookies_not_kept(client):
    heads = []

    async def answer(head, writer):
        heads.append(head)
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /b\r\nset-cookie: id=1\r\ncontent-length: 0\r\n\r\n")

    async with serving(answer) as port:
        statuses = [(await fetched(client, f"http://localhost:{port}/a"))[0] for _ in range(2)]

    assert statuses == [302, 302]
    assert [b"/a " in head and b"ookie" not in head for head in heads] == [True, True]


async def test_a_request_asks_for_no_compression(client):
    heads = []

    async def answer(head, writer):
        heads.append(head.lower())
        writer.write(OK)

    async with serving(answer) as port:
        await fetched(client, f"http://127.0.0.1:{port}/", headers={"x-one": "1"})

    assert b"accept-encoding: identity\r\n" in heads[0]
    assert b"x-one: 1\r\n" in heads[0]
    assert b"python" not in heads[0]


async def test_a_compressed_reply_is_refused(client):
    with FakeProvider("custom") as fake:
        fake.fail(fakes.gzip_bomb())

        with pytest.raises(MalformedReplyError, match="compressed"):
            await fetched(client, f"{fake.url}/chat/completions", content=CHAT)


async def test_a_large_piece_of_a_reply_is_charged_at_once():
    charged = []
    response = httpx.Response(200, stream=httpx.ByteStream(b"x" * (3 * STEP_BYTES + 1)))

    await HttpReply(response, HttpCall(method="GET", url="http://a", timeouts=Timeouts())).read(charge=charged.append)

    assert charged == [STEP_BYTES] * 3


async def test_a_reply_without_end_is_refused(client):
    piece = b"x" * (4 * 1024 * 1024)
    with FakeProvider("custom") as fake:
        fake.fail(fakes.pieces(*[piece] * 9))

        with pytest.raises(AnswerTooLargeError, match="more than 32 MiB"):
            await fetched(client, f"{fake.url}/chat/completions", content=CHAT)


async def read_out(reply):
    while await reply.next_piece():
        pass


async def test_a_stream_without_end_is_refused(client):
    piece = b" " * (4 * 1024 * 1024)
    with FakeProvider("custom") as fake:
        fake.fail(fakes.pieces(*[piece] * 33))

        async with await client.send(make_call(f"{fake.url}/chat/completions", content=CHAT)) as reply:
            with pytest.raises(AnswerTooLargeError, match="more than 128 MiB"):
                await read_out(reply)


@pytest.mark.slow
async def test_five_hundred_cancelled_requests_leave_a_working_client(client):
    with FakeProvider("custom") as fake:
        fake.always = fakes.stall_before_headers()
        url = f"{fake.url}/chat/completions"
        storm = [asyncio.create_task(fetched(client, url, content=CHAT)) for _ in range(500)]
        for number, task in enumerate(storm):
            if number % 50 == 0:
                await asyncio.sleep(0)  # some are cancelled before they begin, some while they connect, some later
            task.cancel()
        results = await asyncio.gather(*storm, return_exceptions=True)
        fake.always = None

        after = await asyncio.gather(*(fetched(client, url, content=CHAT) for _ in range(20)))

    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert [status for status, _ in after] == [200] * 20


async def test_requests_cancelled_in_flight_give_their_connections_back(client):
    with FakeProvider("custom") as fake:
        fake.always = fakes.stall_before_headers()
        url = f"{fake.url}/chat/completions"
        storm = [asyncio.create_task(fetched(client, url, content=CHAT)) for _ in range(100)]
        await asyncio.to_thread(fake.stalled.wait, 5)
        for task in storm:
            task.cancel()
        await asyncio.gather(*storm, return_exceptions=True)
        fake.always = None

        assert (await fetched(client, url, content=CHAT))[0] == 200
        assert await asyncio.to_thread(fake.hung_up.wait, 1)


@pytest.mark.slow
async def test_two_hundred_and_fifty_streams_run_at_once(client):
    with FakeProvider("custom") as fake:
        fake.always = fakes.stall_after(1)
        calls = [client.send(make_call(f"{fake.url}/chat/completions", content=CHAT, read_s=10)) for _ in range(250)]
        replies = await asyncio.gather(*calls)
        first = await asyncio.gather(*(reply.next_piece() for reply in replies))

        fake.release()
        bodies = await asyncio.gather(*(reply.read() for reply in replies))
        await asyncio.gather(*(reply.aclose() for reply in replies))

    assert all(first)
    assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
    assert fake.connections == 250


async def test_closing_the_client_leaves_nothing_open():
    with FakeProvider("custom") as fake:
        client = HttpClient()
        fake.fail(fakes.stall_after(1))
        reply = await client.send(make_call(f"{fake.url}/chat/completions", content=CHAT))
        await reply.next_piece()
        await fetched(client, f"{fake.url}/chat/completions", content=CHAT)

        await client.aclose()
        del reply, client
        gc.collect()  # what is left open would warn now, and warnings are errors

        assert await asyncio.to_thread(fake.hung_up.wait, 1)


def test_a_client_that_was_never_used_closes():
    async def close():
        await HttpClient().aclose()

    asyncio.run(close())


def test_nothing_shown_of_a_call_holds_its_headers_or_content():
    call = make_call("http://x", headers={"authorization": "Bearer canary"}, content=b"canary")

    assert "canary" not in repr(call)


async def test_a_failure_does_not_carry_the_request_along(client):
    async with serving(saying(b"SSH-2.0\r\n\r\n")) as port:
        with pytest.raises(ProviderError) as caught:
            await fetched(client, f"http://127.0.0.1:{port}/", headers={"authorization": "Bearer canary"})

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__

import asyncio

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import AsyncRequestFactory

from llmhub.access.principals import KeyRefusedError, Scope
from llmhub.access.sessions import session_principal
from tests.live import until

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "c" * 32


def sign_in(user):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key


@pytest.fixture
def session():
    return sign_in(User.objects.create_superuser("ada", password="correct horse"))


def post(session, *, cookie=TOKEN, header=TOKEN, **headers):
    tokens = {"x-csrftoken": header} if header else {}
    request = AsyncRequestFactory().post("/api/chat/multi", headers={**tokens, **headers})
    request.COOKIES[settings.SESSION_COOKIE_NAME] = session
    if cookie:
        request.COOKIES[settings.CSRF_COOKIE_NAME] = cookie
    return request


async def test_a_signed_in_user_is_known_by_the_session(session):
    principal = await session_principal(post(session))

    assert principal.actor == "ada"
    assert principal.scopes == set(Scope)


@pytest.mark.parametrize("session", ["", "never-heard-of", "x" * 5000])
async def test_nobody_is_signed_in_with_a_session_that_is_none(session):
    with pytest.raises(KeyRefusedError, match="Nobody is signed in"):
        await session_principal(post(session))


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({"cookie": None, "header": None}, id="neither"),
        pytest.param({"header": None}, id="cookie-alone"),
        pytest.param({"cookie": None}, id="header-alone"),
        pytest.param({"header": "d" * 32}, id="another"),
        pytest.param({"origin": "https://attacker.example"}, id="another-origin"),
    ],
)
async def test_a_request_that_another_site_could_have_made_is_refused(session, forged):
    with pytest.raises(KeyRefusedError, match="needs the CSRF token"):
        await session_principal(post(session, **forged))


def end_other_connections():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ILIKE '%%auth_%%'"
        )
    connection.close()


async def test_a_database_that_came_back_is_asked_anew(session):
    await session_principal(post(session))

    await asyncio.to_thread(end_other_connections)

    assert (await session_principal(post(session))).actor == "ada"


def held():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()[0]


def test_no_connection_is_held_once_the_user_is_known(session):
    before = held()

    async def ask_often():
        await asyncio.gather(*(session_principal(post(session)) for _ in range(8)))

    asyncio.run(ask_often())

    until(lambda: held() <= before)

import asyncio
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import AsyncRequestFactory
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import KeyRefusedError, Scope
from llmhub.access.sessions import UnknownKeyError, session_principal
from providers.error_table import served_error
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


@pytest.fixture
def key_id(request):
    application = Application.objects.create(name="support-bot")
    fields = {"scopes": ["chat"], "allowed_providers": ["local"], "allowed_models": ["smollm2"]}
    row, _ = ApiKey.objects.issue(application, name="production", **fields | getattr(request, "param", {}))
    return row.pk


def with_key(**fields):
    return pytest.mark.parametrize("key_id", [fields], indirect=True)


async def as_key(session, key_id):
    return await session_principal(post(session, **{"x-llmhub-as-key": str(key_id)}))


async def test_a_user_may_ask_for_no_more_than_a_key_allows_and_stays_the_actor(session, key_id):
    principal = await as_key(session, key_id)

    assert (principal.actor, principal.application, principal.api_key) == ("ada", None, None)
    assert principal.scopes == {"chat"}
    assert principal.may_use("local", "smollm2")
    assert not principal.may_use("local", "qwen")
    assert not principal.may_use("ollama", "smollm2")


def staff_session(*permissions):
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return sign_in(user)


@pytest.fixture
def operator_session():
    return staff_session("use_chat", "view_apikey")


@with_key(scopes=["chat", "audit:read"], allowed_providers=[])
async def test_a_key_never_widens_what_a_user_may(operator_session, key_id):
    principal = await as_key(operator_session, key_id)

    assert principal.scopes == {"chat"}


@with_key(scopes=["audit:read"])
async def test_a_key_without_the_scope_to_chat_takes_it_from_the_user(session, key_id):
    principal = await as_key(session, key_id)

    assert principal.scopes == {"audit:read"}


@pytest.mark.parametrize("wrong_id", ["", "0", "999999", "-1", "lh_abc", "9" * 40, "\u00b2", "1; DROP"])
async def test_a_key_that_is_none_is_refused_by_the_name_of_its_header(session, wrong_id):
    with pytest.raises(UnknownKeyError, match="no such API key") as refused:
        await as_key(session, wrong_id)

    assert refused.value.principal.actor == "ada"
    assert served_error(refused.value).status == 400
    assert served_error(refused.value).param == "x-llmhub-as-key"


LONG_AGO = timezone.now() - timedelta(days=1)


@pytest.mark.parametrize(
    "key_id",
    [pytest.param({"revoked_at": LONG_AGO}, id="revoked"), pytest.param({"expires_at": LONG_AGO}, id="expired")],
    indirect=True,
)
async def test_a_key_no_longer_in_force_is_as_none(session, key_id):
    with pytest.raises(UnknownKeyError):
        await as_key(session, key_id)


@pytest.fixture
def session_without_keys():
    return staff_session("use_chat")


async def test_who_may_not_see_keys_learns_nothing_of_them(session_without_keys, key_id):
    with pytest.raises(UnknownKeyError):
        await as_key(session_without_keys, key_id)

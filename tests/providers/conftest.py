from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core import serializers
from django.db import connection, transaction
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from llmhub.access.models import ApiKey, Application
from providers.manager import ProviderManager
from providers.models import ProviderConfig, ProviderModel
from tests.fakes import FakeProvider
from tests.live import until
from tests.live_configuration import LiveConfiguration, Seen, stored

WITHIN_S = 1.0
"""How long a change may take to be known everywhere."""


class Configuration:
    """Committed rows, and a registry of this process that follows them."""

    def __init__(self, registry: LiveConfiguration) -> None:
        self.registry = registry

    def add(
        self, name: str, fake: FakeProvider | None = None, *, models: tuple[str, ...] = (), **fields: Any
    ) -> ProviderConfig:
        """Add a provider, by way of the ORM, and wait until the registry has it."""
        values = {"provider_type": "custom", "default_model": "fake-large", "timeout": 5, **fields}
        values.setdefault("base_url", fake.url if fake else "http://127.0.0.1:9/v1")
        now = timezone.now()
        with transaction.atomic():
            row = ProviderConfig.objects.create(name=name, **values)
            for model in models:
                ProviderModel.objects.create(provider=row, name=model, first_seen_at=now, last_seen_at=now)
        self.settle()
        return row

    def change(self, name: str, /, **fields: Any) -> None:
        """Change a provider, past all checks, and wait until the registry has it."""
        row = ProviderConfig.objects.get(name=name)
        for field, value in fields.items():
            setattr(row, field, value)
        row.save(update_fields=fields)
        self.settle()

    def settle(self) -> None:
        """Wait until the registry has what the database has."""
        expected = stored()
        until(lambda: self.registry.snapshot() == expected)

    def wait_for(self, condition: Callable[[Seen], object]) -> None:
        until(lambda: condition(self.registry.snapshot()), within_s=WITHIN_S)

    def execute(self, sql: str, *params: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)

    def clear(self) -> None:
        ApiKey.objects.all().delete()
        Application.objects.all().delete()
        ProviderConfig.objects.all().delete()


@pytest.fixture(scope="module")
def registry(
    django_db_setup: None, made_by_migrations: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[LiveConfiguration]:
    registry = LiveConfiguration()
    with django_db_blocker.unblock():
        registry.start()
        yield registry
        registry.stop()
        for row in serializers.deserialize("json", made_by_migrations):
            row.save()
        connection.close()


@pytest.fixture
def config(registry: LiveConfiguration) -> Iterator[Configuration]:
    """An empty configuration. What tests write to it is committed, and taken back at the end."""
    config = Configuration(registry)
    config.clear()
    config.settle()
    yield config
    config.clear()


@pytest.fixture
def first() -> Iterator[FakeProvider]:
    with FakeProvider("custom", text="The first answers.") as fake:
        yield fake


@pytest.fixture
def second() -> Iterator[FakeProvider]:
    with FakeProvider("custom", text="The second answers.") as fake:
        yield fake


@pytest.fixture
def two(config: Configuration, first: FakeProvider, second: FakeProvider) -> Configuration:
    """Two providers, the first of which is asked before the second."""
    config.add("first", first, default_model="fake-large", priority=1)
    config.add("second", second, default_model="fake-small", priority=2)
    return config


@pytest.fixture
async def manager(config: Configuration) -> AsyncIterator[ProviderManager]:
    manager = ProviderManager(config.registry.providers)
    yield manager
    await manager.close_all()


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.fixture(scope="session")
def untrusted_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's TLS context with a certificate that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _found(address: str, port: int) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0) if family == socket.AF_INET6 else (address, port)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every name stand for the given addresses."""

    def to(*addresses: str) -> None:
        def getaddrinfo(host: str, port: int, *args: object, **kwargs: object) -> list[Any]:
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [_found(address, port) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return to

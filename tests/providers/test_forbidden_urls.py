"""Every way in which a provider's URL can be saved, and what becomes of one that got past them all."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from llmhub.access.principals import Scope
from providers.manager import get_provider_manager, run
from providers.models import ProviderConfig
from tests.clients import client_with
from tests.providers.admin.rows import LIST, add, fields_of, page_of

pytestmark = pytest.mark.django_db

FORBIDDEN = [
    "http://169.254.169.254/",
    "http://[::ffff:169.254.169.254]/",
    "http://10.0.0.1/v1",
    "http://[fe80::1%25eth0]/",
    "http://2852039166/",
    "http://１６９.254.169.254/",
    "http://169。254。169。254/",
    "http://169.254.169.254./",
    "http://api.example@169.254.169.254/",
    "http://api.example\\@169.254.169.254/",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_forbidden_url_is_not_saved_in_any_way(admin_client, url):
    api = client_with(Scope.PROVIDERS_WRITE)
    row = add("old")
    new = {"name": "new", "provider_type": "custom", "base_url": url}

    statuses = [
        admin_client.post(f"{LIST}add/", fields_of(row, **new)).status_code,
        admin_client.post(page_of(row), fields_of(row, base_url=url)).status_code,
        api.post("/api/providers/register", new, format="json").status_code,
        api.post("/api/providers/register", new | {"name": "old"}, format="json").status_code,
        api.patch("/api/providers/old", {"base_url": url}, format="json").status_code,
    ]
    with pytest.raises(ValidationError, match="base_url"):
        get_provider_manager().register_provider("new", provider_type="custom", base_url=url)

    assert statuses == [200, 200, 400, 400, 400]
    assert not ProviderConfig.objects.filter(name="new").exists()
    assert ProviderConfig.objects.get(name="old").base_url == row.base_url


@pytest.mark.django_db(transaction=True)
def test_a_forbidden_url_that_was_written_past_the_checks_is_not_connected_to():
    add("old")
    errors = []

    for url in FORBIDDEN:
        ProviderConfig.objects.filter(name="old").update(base_url=url)
        errors.append(run(get_provider_manager().health_check, "old").error)

    words = ("never allowed", "private or reserved", "usual form", "is not valid")
    assert [url for url, error in zip(FORBIDDEN, errors, strict=True) if not any(word in error for word in words)] == []

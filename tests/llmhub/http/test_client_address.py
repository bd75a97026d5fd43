from __future__ import annotations

import pytest

from llmhub.http.client_address import client_address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        pytest.param(0, "198.51.100.7", "192.0.2.1", id="nobody-is-trusted"),
        pytest.param(1, "198.51.100.7", "198.51.100.7", id="one-proxy"),
        pytest.param(1, "6.6.6.6, 198.51.100.7", "198.51.100.7", id="what-the-caller-made-up"),
        pytest.param(2, "6.6.6.6, 198.51.100.7, 10.0.0.1", "198.51.100.7", id="two-proxies"),
        pytest.param(2, "198.51.100.7", "198.51.100.7", id="past-the-outer-proxy"),
        pytest.param(1, "", "192.0.2.1", id="past-every-proxy"),
        pytest.param(1, "198.51.100.7:4711", "198.51.100.7", id="with-a-port"),
        pytest.param(1, "[2001:db8::1]:4711", "2001:db8::1", id="v6-with-a-port"),
        pytest.param(1, "2001:db8::1", "2001:db8::1", id="v6"),
        pytest.param(1, "<script>", "", id="not-an-address"),
    ],
)
def test_the_callers_address_is_what_trusted_proxies_tell(rf, settings, proxies, forwarded, address):
    settings.TRUSTED_PROXIES = proxies
    headers = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}

    assert client_address(rf.get("/", REMOTE_ADDR="192.0.2.1", **headers)) == address

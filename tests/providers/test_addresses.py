from ipaddress import ip_address

import httpx
import pytest
import yarl
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.addresses import AddressPolicy, url_fault

NEVER = "never allowed"
PRIVATE = "private or reserved"
UNUSUAL = "not an address in its usual form"
EVERYTHING = ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2001:0:a9fe:a9fe::1",
        "2001:0:808:808::5601:5601",
    ],
)
def test_metadata_and_link_local_addresses_are_refused_even_when_everything_is_allowed(host):
    assert NEVER in AddressPolicy(EVERYTHING).host_fault(host)


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "127.0.0.1",
        "::",
        "::1",
        "fd00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::1",
        "2001:0:a00:1::1",
        "::10.0.0.1",
    ],
)
def test_private_and_reserved_addresses_are_refused_unless_allowed(host):
    assert PRIVATE in AddressPolicy(()).host_fault(host)


@pytest.mark.parametrize(
    "host",
    ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "api.openai.com", "API.OpenAI.com."],
)
def test_public_hosts_are_allowed(host):
    assert AddressPolicy(()).host_fault(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "127.0.0.01",
        "1.2.3.4.5",
        "a.0x1",
        "::g",
    ],
)
def test_numbers_in_an_unusual_form_are_refused(host):
    assert UNUSUAL in AddressPolicy(EVERYTHING).host_fault(host)


@pytest.mark.parametrize("host", ["127%2e0%2e0%2e1", "a b", "１２７.0.0.example", "x" * 64, "", "a..b", "a/b"])
def test_what_is_no_host_name_is_refused(host):
    assert "is not a host name" in AddressPolicy().host_fault(host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_allowed_unless_told_otherwise(host):
    assert AddressPolicy().host_fault(host) == ""


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        pytest.param("10.1.0.0/16", "10.1.2.3", "10.1.2.3", id="range"),
        pytest.param("10.1.2.3", "::ffff:10.1.2.3", "::ffff:10.1.2.3", id="mapped"),
        pytest.param("10.1.2.3", "box.example", "10.1.2.3", id="address-behind-a-name"),
        pytest.param("[fd00::5]", "fd00::5", "fd00::5", id="brackets"),
        pytest.param("ollama.internal", "Ollama.Internal.", "10.9.9.9", id="name"),
    ],
)
def test_allowed_private_hosts_may_be_reached(allowed, host, address):
    assert AddressPolicy([allowed]).address_fault(ip_address(address), host=host) == ""


def test_an_allowed_name_does_not_allow_its_address_under_another_name():
    policy = AddressPolicy(["ollama.internal"])

    assert PRIVATE in policy.address_fault(ip_address("10.9.9.9"), host="other.internal")


def test_an_allowed_name_may_not_stand_for_a_metadata_address():
    policy = AddressPolicy(["ollama.internal"])

    assert NEVER in policy.address_fault(ip_address("169.254.169.254"), host="ollama.internal")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://box", "box:8080", "300.1.1.1", "", "*"])
def test_an_allowed_host_that_is_none_is_an_error(entry):
    with pytest.raises(ValueError, match="not a host name, an address or a CIDR range"):
        AddressPolicy([entry])


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://api.openai.com/v1", ""),
        ("http://localhost:11434", ""),
        ("http://[::1]:8080/v1/", ""),
        ("ftp://api.example", "must start with http:// or https://"),
        ("api.example/v1", "must start with http:// or https://"),
        ("https://user:word@api.example", "must not contain a user name"),
        ("https://@api.example", "must not contain a user name"),
        ("https://", "names no host"),
        ("https:///v1", "names no host"),
        ("https://api.example/v1?key=1", "must not have a query"),
        ("https://api.example/v1?", "must not have a query"),
        ("https://api.example/v1#top", "must not have a query"),
        ("https://api.example:99999", "not a URL"),
        ("http://[::1", "not a URL"),
        (" https://api.example", "contains a space"),
        ("https://api.example/\nv1", "contains a space"),
        ("http://169.254.169.254/latest", NEVER),
        ("http://[::ffff:169.254.169.254]/", NEVER),
        ("http://192.168.0.9", PRIVATE),
        ("http://2852039166/", UNUSUAL),
        ("http://169.254.169.254\\@api.example/", "must not contain a user name"),
    ],
)
def test_a_base_url_is_judged_in_words(url, fault):
    found = url_fault(url, allowed=["localhost"])

    assert fault in found
    assert bool(fault) == bool(found)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254./",
        "http://0xa9fea9fe/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://１６９.254.169.254/",
        "http://①⑥⑨.254.169.254/",
        "http://169。254。169。254/",
        "http://169.254.169.254%2eexample.com/",
        "http://169.254.169.254%00.example.com/",
        "http://example.com%40169.254.169.254/",
        "http://169.254.169.254\\.example.com/",
        "http://\\169.254.169.254/",
        "http://example.com\\@169.254.169.254/",
        "http://example.com:80@169.254.169.254/",
        "http://example.com#@169.254.169.254/",
        "http://example.com?@169.254.169.254/",
        "http://example.com:80:80/",
        "http://example.com:８０/",
        "http://example.com:+80/",
        "http://example.com:-1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1%25eth0]/",
        "http://[169.254.169.254]/",
        "http://[v1.fe80::a]/",
        "http:169.254.169.254/",
        "http:///169.254.169.254/",
        "http://ｌocalhost/",
        "http://examplⓔ.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/",
        "http+unix://%2Frun%2Fx.sock/",
    ],
)
def test_no_way_of_writing_a_url_gets_past(url):
    assert url_fault(url, allowed=EVERYTHING if "::1" not in url else ())


HOSTS = [
    "169.254.169.254",
    "127.0.0.1",
    "2130706433",
    "[::1]",
    "::1",
    "fe80::1%eth0",
    "v1.",
    "example.com",
    "localhost",
]
MARKS = ["[", "]", "@", ":", "\\", "/", "//", ".", "#", "?", ";", "_", "-", "%2e", "%40", "%2f", "%25", "%00"]
LETTERS = [*"1aéß１①²٣Kſ。．｡\u00ad\u200d", "0x7f", "017", "80", "xn--"]


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.sampled_from(HOSTS + MARKS + LETTERS), max_size=6).map("".join),
    st.sampled_from(["http://", "HTTPS://", "http:", "http:/"]),
)
def test_whoever_parses_a_saved_url_finds_the_host_that_was_judged(rest, scheme):
    url = f"{scheme}{rest}/v1"
    if url_fault(url, allowed=()):
        return

    sent_to = httpx.URL(url)
    hosts = {sent_to.raw_host.decode(), yarl.URL(str(sent_to)).raw_host, yarl.URL(str(sent_to), encoded=True).raw_host}

    assert len(hosts) == 1
    assert AddressPolicy(()).host_fault(hosts.pop()) == ""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.backends.reply_headers import retry_after_s, upstream_request_id

NOW = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        pytest.param({"retry-after": "3"}, 3.0, id="seconds"),
        pytest.param({"retry-after": "0.25"}, 0.25, id="fraction"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, id="milliseconds-first"),
        pytest.param({"retry-after": "3600"}, 60.0, id="capped"),
        pytest.param({"retry-after": "-3"}, 0.0, id="past-seconds"),
        pytest.param({"retry-after": "Sun, 22 Nov 2026 10:00:20 GMT", "date": NOW}, 20.0, id="date"),
        pytest.param({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT", "date": NOW}, 0.0, id="past-date"),
        pytest.param({"retry-after": "Sun, 22 Nov 2026 10:00:20 GMT"}, None, id="date-of-unknown-now"),
        pytest.param({"retry-after": "soon"}, None, id="words"),
        pytest.param({"retry-after": "nan"}, None, id="nan"),
        pytest.param({"retry-after": "inf"}, None, id="infinite"),
        pytest.param({"x-ratelimit-reset-requests": "12ms"}, 0.012, id="duration-ms"),
        pytest.param({"x-ratelimit-reset-requests": "6m0s"}, 60.0, id="duration-capped"),
        pytest.param({"x-ratelimit-reset-tokens": "7.66s"}, 7.66, id="duration-fraction"),
        pytest.param({"x-ratelimit-reset-requests": "1h2m3s"}, 60.0, id="duration-hours"),
        pytest.param({"x-ratelimit-reset-requests": "20s", "x-ratelimit-reset-tokens": "5s"}, 5.0, id="earliest"),
        pytest.param(
            {
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "5s",
                "x-ratelimit-remaining-tokens": "900",
            },
            20.0,
            id="the-limit-that-is-used-up",
        ),
        pytest.param({"anthropic-ratelimit-tokens-reset": "2026-11-22T10:00:30Z", "date": NOW}, 30.0, id="moment"),
        pytest.param({"x-ratelimit-reset": "12"}, 12.0, id="plain-number"),
        pytest.param({"x-ratelimit-reset": "1790000000"}, None, id="epoch"),
        pytest.param({"x-ratelimit-limit-requests": "60"}, None, id="no-reset"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_the_wait_is_what_the_provider_asks_for(headers, expected_s):
    assert retry_after_s(headers) == pytest.approx(expected_s)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-x"]), st.text()))
def test_whatever_the_headers_hold_the_wait_is_short_or_unknown(headers):
    found = retry_after_s(headers)

    assert found is None or 0 <= found <= 60


def test_the_request_id_is_found_under_each_providers_name():
    names = ["x-request-id", "request-id", "mistral-correlation-id"]

    assert [upstream_request_id({name: "r-1"}) for name in names] == ["r-1"] * 3
    assert upstream_request_id({}) is None

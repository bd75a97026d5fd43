import json

import pytest
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404
from rest_framework.exceptions import NotAuthenticated, NotFound, PermissionDenied, Throttled, ValidationError

from chat.gateway.errors import SERVED, MediaTypeError, served_problem
from chat.ledger.errors import LedgerUnavailableError
from llmhub.access.principals import KeyRefusedError, NotPermittedError
from llmhub.access.sessions import SessionsUnavailableError, UnknownKeyError
from llmhub.http.request_bodies import BodyTooLargeError, BodyTooSlowError
from llmhub.runtime.memory_budget import LargerThanBudgetError, MemoryBudgetExceededError
from providers import errors
from providers.api.errors import exception_handler
from providers.error_table import ERROR_SPECS, ServedError, served_error
from providers.types import Attempt
from providers.wire.validation import BadRequestError


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


PROVIDER_ERRORS = [kind for kind in subclasses(errors.ProviderError) if not kind.__module__.startswith("tests")]


@pytest.mark.parametrize("kind", PROVIDER_ERRORS)
def test_every_failure_of_a_provider_has_a_line_of_its_own(kind):
    assert kind in ERROR_SPECS


@pytest.mark.parametrize(
    ("error", "status", "type_", "code", "should_retry"),
    [
        (KeyRefusedError("x"), 401, "invalid_request_error", "invalid_api_key", "false"),
        (NotPermittedError("x"), 403, "permission_error", "not_permitted", "false"),
        (errors.CredentialRejectedError("x"), 502, "api_error", "provider_auth_error", "false"),
        (errors.QuotaExhaustedError("x"), 502, "api_error", "provider_quota_exhausted", "false"),
        (errors.RateLimitedError("x"), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (errors.OverloadedError("x"), 503, "server_error", "overloaded", None),
        (errors.ContextTooLongError("x"), 400, "invalid_request_error", "context_length_exceeded", "false"),
        (errors.ContentBlockedError("x"), 400, "invalid_request_error", "content_filter", "false"),
        (errors.ModelNotServedError("x"), 404, "invalid_request_error", "model_not_found", "false"),
        (errors.RequestRejectedError("x"), 400, "invalid_request_error", None, "false"),
        (errors.UnsupportedRequestError("x"), 400, "invalid_request_error", "unsupported_by_provider", "false"),
        (errors.ProviderTimeoutError("x"), 504, "api_error", "provider_timeout", None),
        (errors.UnreachableError("x"), 502, "api_error", "provider_unreachable", None),
        (errors.UpstreamError("x"), 502, "api_error", "provider_error", None),
        (errors.MalformedReplyError("x"), 502, "api_error", "malformed_reply", None),
        (errors.TruncatedReplyError("x"), 502, "api_error", "truncated_reply", None),
        (errors.ConfigurationError("x"), 503, "server_error", "provider_misconfigured", "false"),
        (UnknownKeyError("x"), 400, "invalid_request_error", "unknown_key", "false"),
        (SessionsUnavailableError("x"), 503, "server_error", "database_unavailable", None),
        (errors.NoProviderError("x"), 503, "server_error", "no_provider", None),
        (errors.AnswerTooLargeError("x"), 502, "api_error", "answer_too_large", "false"),
        (errors.LoopError("x"), 508, "invalid_request_error", "loop_detected", "false"),
        (LargerThanBudgetError(2, 1), 413, "invalid_request_error", "request_too_large", "false"),
        (MemoryBudgetExceededError(), 503, "server_error", "hub_overloaded", None),
        (errors.InternalError("x"), 500, "server_error", "internal_error", None),
        (BadRequestError("x"), 400, "invalid_request_error", None, "false"),
        (BodyTooLargeError("x"), 413, "invalid_request_error", "request_too_large", "false"),
        (BodyTooSlowError("x"), 408, "invalid_request_error", "request_timeout", None),
        (MediaTypeError("x"), 415, "invalid_request_error", "unsupported_media_type", "false"),
        (LedgerUnavailableError("x"), 503, "server_error", "record_unavailable", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_has_its_status_type_code_and_hint(error, status, type_, code, should_retry):
    problem = served_problem(error)

    assert (problem.status, problem.type, problem.code) == (status, type_, code)
    assert problem.headers.get("x-should-retry") == should_retry


def test_every_failure_of_serving_stands_in_the_table_above():
    [table] = test_each_failure_has_its_status_type_code_and_hint.pytestmark

    assert {type(case[0]) for case in table.args[1]} == set(SERVED)


@pytest.mark.parametrize(
    ("told_s", "header"),
    [
        (None, None),
        (0, "0"),
        (0.001, "1"),
        (1.0, "1"),
        (1.2, "2"),
        (59.5, "60"),
        (60.1, "60"),
        (86400, "60"),
        (float("inf"), "60"),
        (-3, "0"),
    ],
)
def test_the_time_to_wait_is_whole_seconds_rounded_up_and_a_minute_at_most(told_s, header):
    problem = served_error(errors.RateLimitedError("x", retry_after_s=told_s))

    assert problem.headers.get("retry-after") == header


@pytest.mark.parametrize("error", [RuntimeError("canary"), KeyError("canary"), errors.ProviderError("canary")])
def test_what_nobody_foresaw_is_500_without_its_words(error):
    problem = served_error(error)

    assert (problem.status, problem.type, problem.code) == (500, "server_error", "internal_error")
    assert problem.headers == {}
    assert "canary" not in json.dumps(problem.body)


def test_a_class_without_a_line_of_its_own_is_answered_as_its_parent_is():
    class SlowDownError(errors.RateLimitedError):
        pass

    assert served_error(SlowDownError("x")).status == 429


def test_a_refused_request_keeps_the_providers_words_code_and_parameter():
    error = errors.RequestRejectedError(
        "Use 'max_completion_tokens'.", upstream_status=400, code="unsupported_parameter", param="max_tokens"
    )

    problem = served_error(error)

    assert problem.body == {
        "error": {
            "type": "invalid_request_error",
            "message": "Use 'max_completion_tokens'.",
            "code": "unsupported_parameter",
            "param": "max_tokens",
        }
    }


@pytest.mark.parametrize(
    ("kind", "told", "code"),
    [
        (errors.CredentialRejectedError, "invalid_api_key", "provider_auth_error"),
        (errors.QuotaExhaustedError, "insufficient_quota", "provider_quota_exhausted"),
        (errors.RateLimitedError, "slow_down", "rate_limit_exceeded"),
        (errors.ContextTooLongError, "exceed_context_size_error", "context_length_exceeded"),
        (errors.ModelNotServedError, "invalid_model", "model_not_found"),
    ],
)
def test_a_providers_code_does_not_pass_for_the_hubs_own(kind, told, code):
    assert served_error(kind("x", upstream_status=400, code=told)).code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ModelNotServedError("x", code="provider_not_found"), "provider_not_found"),
        (NotPermittedError("x", code="missing_scope"), "missing_scope"),
    ],
)
def test_the_hubs_own_failures_may_be_more_precise(error, code):
    assert served_error(error).code == code


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("The prompt has too many tokens.", "The prompt has too many tokens. (context_length_exceeded)"),
        ("prompt is too long: 9 tokens > 8 maximum", "prompt is too long: 9 tokens > 8 maximum"),
        ("context_length_exceeded: 9 > 8", "context_length_exceeded: 9 > 8"),
    ],
)
def test_an_overlong_prompt_is_told_in_words_that_clients_look_for(told, message):
    assert served_error(errors.ContextTooLongError(told)).message == message


def test_the_headers_are_those_that_are_known():
    problem = ServedError(status=429, type="t", message="m", retry_after_s=3, should_retry=True)

    assert problem.headers == {"retry-after": "3", "x-should-retry": "true"}


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            ValidationError({"base_url": ["Not a URL.", "Too long."]}),
            400,
            {
                "type": "invalid_request_error",
                "message": "base_url: Not a URL.",
                "code": "invalid",
                "param": "base_url",
            },
        ),
        (
            ValidationError({"settings": {"num_ctx": ["Too small."]}}),
            400,
            {
                "type": "invalid_request_error",
                "message": "settings.num_ctx: Too small.",
                "code": "invalid",
                "param": "settings.num_ctx",
            },
        ),
        (
            PermissionDenied("No."),
            403,
            {"type": "permission_error", "message": "No.", "code": "permission_denied", "param": None},
        ),
        (
            DjangoPermissionDenied(),
            403,
            {
                "type": "permission_error",
                "message": "You do not have permission to perform this action.",
                "code": "permission_denied",
                "param": None,
            },
        ),
        (NotFound("Gone."), 404, {"type": "not_found_error", "message": "Gone.", "code": "not_found", "param": None}),
        (Http404("x"), 404, {"type": "not_found_error", "message": "Not found.", "code": "not_found", "param": None}),
        (
            NotAuthenticated("Who?"),
            401,
            {"type": "authentication_error", "message": "Who?", "code": "not_authenticated", "param": None},
        ),
        (
            Throttled(detail="Slow."),
            429,
            {"type": "rate_limit_error", "message": "Slow.", "code": "throttled", "param": None},
        ),
        (
            errors.UnreachableError("connection refused"),
            502,
            {"type": "api_error", "message": "connection refused", "code": "provider_unreachable", "param": None},
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_of_the_hubs_api_has_its_one_shape(error, status, body):
    response = exception_handler(error, {})

    assert response.status_code == status
    assert response.data == {"error": body}


def test_a_caller_without_a_key_is_told_how_to_authenticate():
    error = NotAuthenticated()
    error.auth_header = "Bearer"

    assert exception_handler(error, {})["www-authenticate"] == "Bearer"


def test_the_headers_of_a_providers_failure_are_sent():
    response = exception_handler(errors.RateLimitedError("x", retry_after_s=1.5), {})

    assert (response.status_code, response["retry-after"]) == (429, "2")


def test_what_nobody_foresaw_is_left_to_the_server():
    assert exception_handler(RuntimeError("x"), {}) is None


@pytest.mark.parametrize(("attempts", "header"), [(0, None), (1, None), (2, "false")])
def test_what_the_hub_has_itself_tried_elsewhere_is_not_to_be_tried_again(attempts, header):
    error = errors.NoProviderError("x")
    error.attempts = (Attempt(provider="acme", model_name="m", ok=False, latency_ms=1),) * attempts

    assert served_error(error).headers.get("x-should-retry") == header

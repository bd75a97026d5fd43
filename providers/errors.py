"""Everything that can go wrong with a provider.

ProviderError
 ├─ ConfigurationError        the provider's own row is wrong: no key, a forbidden address
 ├─ UnreachableError          nothing was sent: DNS, refused, TLS, connect timeout
 ├─ ProviderTimeoutError      sent, but no answer in time
 ├─ CredentialRejectedError   the provider refused our key
 ├─ QuotaExhaustedError       our account there is out of money
 ├─ RateLimitedError          429
 ├─ OverloadedError           529, 503 or a full queue
 ├─ UpstreamError             another 5xx, or a broken connection
 ├─ MalformedReplyError       an answer that is not in the provider's format
 ├─ TruncatedReplyError       a stream that ended before its end
 ├─ AnswerTooLargeError       an answer, or a stream, beyond the hub's bounds
 ├─ ModelNotServedError       the provider does not have the model
 ├─ RequestRejectedError      the request is at fault
 │   ├─ UnsupportedRequestError   this type of provider cannot be asked that, another may
 │   ├─ ContextTooLongError
 │   └─ ContentBlockedError
 ├─ NoProviderError           no provider could be asked, or all that were failed
 ├─ LoopError                 the chat has come through this hub before
 └─ InternalError             the hub failed at this provider; its log tells how
"""

from __future__ import annotations

from typing import ClassVar

from llmhub.runtime.errors import HubError
from providers.types import Attempt


class ProviderError(HubError):
    """A call to a provider failed.

    Shape: the message may be shown to callers: it never holds a key, a prompt or an upstream body beyond
    the provider's own message. `code` and `param` are the provider's own where it names them.
    Units: `retry_after_s` in seconds; None when the provider does not say.
    """

    failover: ClassVar[bool] = True
    """Whether another provider may be asked instead."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        upstream_status: int | None = None,
        retry_after_s: float | None = None,
        code: str | None = None,
        param: str | None = None,
        upstream_request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.upstream_status = upstream_status
        self.retry_after_s = retry_after_s
        self.code = code
        self.param = param
        self.upstream_request_id = upstream_request_id
        self.attempts: tuple[Attempt, ...] = ()

    def __repr__(self) -> str:
        """Leave out the message, as a provider may quote what it was asked."""
        return f"{type(self).__name__}(provider={self.provider!r}, upstream_status={self.upstream_status!r})"


class ConfigurationError(ProviderError):
    pass


class UnreachableError(ProviderError):
    pass


class ProviderTimeoutError(ProviderError):
    pass


class CredentialRejectedError(ProviderError):
    pass


class QuotaExhaustedError(ProviderError):
    pass


class RateLimitedError(ProviderError):
    pass


class OverloadedError(ProviderError):
    pass


class UpstreamError(ProviderError):
    pass


class MalformedReplyError(ProviderError):
    pass


class TruncatedReplyError(ProviderError):
    pass


class AnswerTooLargeError(ProviderError):
    pass


class ModelNotServedError(ProviderError):
    pass


class RequestRejectedError(ProviderError):
    failover: ClassVar[bool] = False


class UnsupportedRequestError(RequestRejectedError):
    failover: ClassVar[bool] = True


class ContextTooLongError(RequestRejectedError):
    pass


class ContentBlockedError(RequestRejectedError):
    pass


class NoProviderError(ProviderError):
    failover: ClassVar[bool] = False


class LoopError(ProviderError):
    failover: ClassVar[bool] = False


class InternalError(ProviderError):
    pass

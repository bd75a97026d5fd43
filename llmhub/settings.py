"""Settings: the environment, read and validated once, then Django's settings derived from it."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llmhub.access.keys import RULE, is_strong
from llmhub.runtime.process_role import process_role

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("LLMHUB_HOME", BASE_DIR / ".llmhub"))
RUNTIME = HOME / "runtime.env"

Listed = Annotated[list[str], NoDecode]

CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 5
LIVENESS = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
"""Keepalives that detect an unreachable server. Units: seconds; the last one milliseconds."""

WEB_TIMEOUTS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
"""Database timeouts of pages; tasks and commands have none."""

_LIBPQ_NAMES = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "NAME": "dbname"}


class Environment(BaseSettings):
    """The environment variables of the hub; `manage.py up` writes its own to LLMHUB_HOME/runtime.env."""

    model_config = SettingsConfigDict(env_file=RUNTIME if os.access(RUNTIME, os.R_OK) else None, extra="ignore")

    database_url: SecretStr
    database_owner_url: SecretStr | None = None
    redis_url: SecretStr
    django_secret_key: SecretStr
    llmhub_secret_keys: SecretStr

    llmhub_allowed_hosts: Listed = ["localhost", "127.0.0.1", "[::1]"]
    llmhub_allowed_private_hosts: Listed = ["localhost"]
    llmhub_https: bool = False
    llmhub_trusted_proxies: int = Field(default=0, ge=0, description="trusted proxies in front of the hub")
    llmhub_database_pool: int = Field(default=10, ge=0, description="connections in a web process's pool; 0: no pool")
    llmhub_max_body_mb: int = Field(default=32, ge=1, le=1024)
    llmhub_memory_budget_mb: int = Field(default=0, ge=0, description="bodies and answers in one process")
    llmhub_max_connections_per_address: int = Field(default=1024, ge=1)
    llmhub_stop_notice_s: float = Field(
        default=5, ge=0, le=60, description="seconds not ready, but accepting connections"
    )
    llmhub_chat_deadline_s: float = Field(default=600, gt=0)
    llmhub_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    llmhub_log_format: Literal["", "json", "console"] = ""

    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_traces_endpoint: str = ""

    llmhub_local_model_url: str = ""
    llmhub_local_model_key: SecretStr | None = None
    llmhub_admin_password: SecretStr | None = None
    llmhub_demo_key: SecretStr | None = None

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def check_database(cls, value: SecretStr | None) -> SecretStr | None:
        """Reject an invalid URL without libpq's message, which quotes the password."""
        try:
            conninfo_to_dict(value.get_secret_value() if value else "")
        except ProgrammingError:
            raise ValueError("not of the form postgresql://user:password@host:port/name") from None
        return value

    @field_validator("django_secret_key")
    @classmethod
    def check_strength(cls, value: SecretStr) -> SecretStr:
        if not is_strong(value.get_secret_value()):
            raise ValueError(f"must be {RULE}")
        return value

    @field_validator("llmhub_allowed_hosts", "llmhub_allowed_private_hosts", mode="before")
    @classmethod
    def split_list(cls, value: Any) -> Any:
        return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def read_environment() -> Environment:
    """Read the environment; on error name the variables, but not their values."""
    try:
        return Environment()  # the mypy plugin of pydantic knows that fields come from the environment
    except ValidationError as error:
        errors = "; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise ImproperlyConfigured(
            f"The environment is not complete: {errors}. `manage.py up` brings a complete one along; "
            "docs/operations.md explains every variable."
        ) from None


def database(url: SecretStr) -> dict[str, Any]:
    """Convert a libpq URL to Django's settings."""
    options: dict[str, Any] = {k: v for k, v in conninfo_to_dict(url.get_secret_value()).items() if v is not None}
    params = {name: options.pop(key, "") for name, key in _LIBPQ_NAMES.items()}
    options = {"connect_timeout": CONNECT_TIMEOUT_S, **LIVENESS, **options}
    return {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 0, **params, "OPTIONS": options}


def web_database(url: SecretStr, *, pool: int) -> dict[str, Any]:
    """Return the database settings of pages: a shared connection pool, and timeouts.

    Only web has a pool: a pool does not survive a fork, and other processes need few connections.
    """
    config = database(url)
    options = config["OPTIONS"]
    timeouts = " ".join(f"-c {name}={value}" for name, value in WEB_TIMEOUTS.items())
    options["options"] = f"{timeouts} {options.get('options', '')}".rstrip()
    if pool:
        options["pool"] = {"min_size": 0, "max_size": pool, "timeout": POOL_TIMEOUT_S}
    return {**config, "CONN_HEALTH_CHECKS": bool(pool)}


ENV = read_environment()

SECRET_KEY = ENV.django_secret_key.get_secret_value()
SECRET_KEYS = [key.strip() for key in ENV.llmhub_secret_keys.get_secret_value().split(",") if key.strip()]
DEBUG = False
ALLOWED_HOSTS = ENV.llmhub_allowed_hosts
TRUSTED_PROXIES = ENV.llmhub_trusted_proxies
ALLOWED_PRIVATE_HOSTS = ENV.llmhub_allowed_private_hosts
MAX_BODY_BYTES = ENV.llmhub_max_body_mb * 1024 * 1024
OTLP_ENDPOINT = ENV.otel_exporter_otlp_traces_endpoint or ENV.otel_exporter_otlp_endpoint
MEMORY_BUDGET_BYTES = ENV.llmhub_memory_budget_mb * 1024 * 1024 or 12 * MAX_BODY_BYTES
MAX_CONNECTIONS_PER_ADDRESS = ENV.llmhub_max_connections_per_address
STOP_NOTICE_S = ENV.llmhub_stop_notice_s
CHAT_DEADLINE_S = ENV.llmhub_chat_deadline_s

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "llmhub.people",
    "csp",
    "pgtrigger",
    "pghistory",
    "django_celery_beat",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "llmhub.adminkit",
    "llmhub.history",
    "llmhub.access",
    "providers",
    "chat.ledger",
    "chat.history",
    *(["chat.seeding"] if find_spec("chat.seeding") else []),  # not in the image
    "llmhub.operations",
    "llmhub.dashboard",
]

MIDDLEWARE = [
    "llmhub.http.request_ids.request_id",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "llmhub.history.tracking.ActorMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "llmhub.urls"
GATEWAY_URLCONF = "llmhub.gateway_urls"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "llmhub" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

IS_WEB = process_role(sys.argv) in ("web", "bulk")
DATABASES = {
    "default": web_database(ENV.database_url, pool=ENV.llmhub_database_pool) if IS_WEB else database(ENV.database_url)
}
if ENV.database_owner_url:
    DATABASES["owner"] = {**database(ENV.database_owner_url), "TEST": {"MIRROR": "default"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = ENV.redis_url.get_secret_value()

# Rate limits of sign-in live in the database: Redis may be down just when an admin must sign in. The cache is large, so
# that many attempts of others do not evict an account's count.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "django_cache",
        "OPTIONS": {"MAX_ENTRIES": 50_000},
    }
}

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
ACCOUNT_ADAPTER = "llmhub.people.allauth_adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "reauthenticate": "10/m/user",
    "change_password": "5/m/user",
}
MFA_ADAPTER = "llmhub.people.allauth_adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "llmhub"

PGHISTORY_MIDDLEWARE_METHODS = ("POST", "PUT", "PATCH", "DELETE")

SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_NAME = "__Host-sessionid" if ENV.llmhub_https else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if ENV.llmhub_https else "csrftoken"
CSRF_FAILURE_VIEW = "llmhub.http.error_pages.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = ENV.llmhub_https
SECURE_HSTS_SECONDS = 31_536_000 if ENV.llmhub_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.llmhub_https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.llmhub_https else None
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "llmhub.formats"

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600

# Unfold's Alpine evaluates expressions and sets styles.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "llmhub.access.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["llmhub.access.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["llmhub.http.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "providers.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "llmhub",
    "DESCRIPTION": "A gateway for LLM calls: chats, providers, and the history of both.",
    "VERSION": VERSION,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "chat.gateway.openapi.add_chat_endpoints",
        "chat.gateway.openapi.add_common_failures",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ChatStatus": "chat.ledger.models.ChatStatus",
        "HubState": "llmhub.operations.views.STATES",
        "ProviderType": "providers.api.serializers.TYPES",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,  # far above the longest task: a running task is not redelivered
    "socket_keepalive": True,
    "health_check_interval": 25,
    "max_retries": 1,  # of senders: no request waits for a missing broker
    "interval_start": 0,
    # A worker waits for tasks. Web only sends while a caller waits: two such timeouts if the broker is unresponsive.
    "socket_connect_timeout": 0.3 if IS_WEB else 5,
    "socket_timeout": 0.3 if IS_WEB else 15,
}
CELERY_BROKER_POOL_LIMIT = 32  # more than concurrent pages: none waits for another to send
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # else beat schedules a clean-up of results, which do not exist
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULER = "llmhub.operations.beat:HeartbeatScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SYNC_EVERY = 1

UNFOLD = {
    "SITE_TITLE": "llmhub",
    "SITE_HEADER": "llmhub",
    "SITE_SUBHEADER": "Every LLM call, in one place",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: f"{STATIC_URL}dashboard/favicon.svg"}
    ],
    "STYLES": [
        lambda _request: f"{STATIC_URL}dashboard/llmhub.css",
        lambda _request: f"{STATIC_URL}adminkit/adminkit.css",
    ],
    "SCRIPTS": [
        lambda _request: f"{STATIC_URL}dashboard/llmhub.js",
        lambda _request: f"{STATIC_URL}adminkit/charts.js",
    ],
    "SITE_URL": "/api/docs",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "llmhub.dashboard.overview.page.dashboard_callback",
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Two-factor authentication", "link": reverse_lazy("mfa_index")},
        ],
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "llmhub.dashboard.navigation.sidebar",
    },
}

# Libraries may log bodies at DEBUG: that level applies to the hub's own loggers only.
_IS_DEBUG = ENV.llmhub_log_level == "DEBUG"
_LIBRARIES_LEVEL = "INFO" if _IS_DEBUG else ENV.llmhub_log_level
_EACH_TASK_LEVEL = "INFO" if _IS_DEBUG else "WARNING"

LOGGING_CONFIG = "llmhub.runtime.logs.configure"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "llmhub.runtime.logs.formatter", "log_format": ENV.llmhub_log_format}},
    "filters": {"flood": {"()": "llmhub.runtime.logs.FloodFilter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["flood"]},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": _LIBRARIES_LEVEL},
    "loggers": {
        **{name: {"level": ENV.llmhub_log_level} for name in ("llmhub", "providers", "chat")},
        **{name: {"level": _EACH_TASK_LEVEL} for name in ("celery.app.trace", "celery.beat", "celery.worker.strategy")},
        **{name: {"handlers": [], "level": _LIBRARIES_LEVEL, "propagate": True} for name in ("django", "uvicorn")},
        "uvicorn.access": {"handlers": [], "propagate": False},
        "opentelemetry": {"level": "ERROR"},  # else one line per batch while the collector is down
        "httpx": {"level": "WARNING"},  # the record of chats says more than a line per call
        "django.request": {"level": "ERROR"},  # client errors are reported to the client
        "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},  # likewise
    },
}

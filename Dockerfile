# The server without torch and without a compiler, for `docker run` and deploy/kubernetes (docs/deploy.md).
#
#   docker build -t gatewright .
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:8765:8765 -e GATEWRIGHT_TOKEN \
#     -v ./runs/load:/models/load:ro -v sessions:/data \
#     gatewright serve load=/models/load --host 0.0.0.0 --store /data/sessions.db
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The wheel of Gatewright and those of what the server needs, by the pinned versions.
RUN pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels ".[serve]"

FROM ${BASE}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "gatewright[serve]" \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin gatewright \
    && install --directory --owner gatewright --group gatewright /data
USER 10001:10001
WORKDIR /data
EXPOSE 8765
STOPSIGNAL SIGTERM
# With --ssl-certfile or another port, replace it: docker run --health-cmd.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
# A process of its own: it has handlers for SIGTERM and SIGINT, and starts no others that it would have to wait for.
ENTRYPOINT ["gatewright"]
CMD ["serve", "--help"]

# The service alone: no compiler, no pip, no cache, and no file that its user can write.
#
# It runs as uid 10001 with a read-only root file system. It writes to
#   /dev/shm   metrics and worker heartbeats (every runtime mounts one; 64 MB is enough to start with)
#   /app/var   the embedded SQLite database; not needed with DATABASE_URL=postgresql://…
# A separate run migrates PostgreSQL before the service starts:
#   docker run --rm --env DATABASE_URL IMAGE atom-platform migrate

# Debian with Python 3.11 and the venv module; a digest pins it: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# The system's certificates, so that a company's own can be mounted into the build.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Two environments: pip and setuptools stay in /opt/pip, which is not copied into the image.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements.txt deploy/image/requirements-build.txt ./
# Wheels only: a package that needs a compiler fails the build.
RUN /opt/pip/bin/pip install --require-hashes --only-binary :all: -r requirements-build.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install \
        --no-compile --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY atom_platform atom_platform
COPY wsgi.py gunicorn.conf.py /app/
ARG SOURCE_DATE_EPOCH=0
# Bytecode goes into the image: its file system is read-only later. It is not checked against the
# source: the default check, by modification time, would differ between two builds of one commit.
RUN export SOURCE_DATE_EPOCH \
    && /opt/pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index dist/*.whl \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app

FROM ${PYTHON_IMAGE}
# ECS runs its health check, curl, inside the container. The version is Debian's current one: Debian
# keeps no older version to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/cache/debconf/* \
        /var/log/* \
    && echo 'atom:x:10001:10001:ATOM platform:/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'atom:x:10001:' >> /etc/group \
    && install -d -o 10001 -g 10001 /app/var
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# A number: Kubernetes cannot prove that a user name is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness, not readiness: a container that fails is replaced. ECS ignores this and reads its own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "atom_platform", "probe", "live"]
# gunicorn is process 1: it receives the signals and reaps orphaned processes.
CMD ["gunicorn", "wsgi:app"]

ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ENV ATOM_REVISION=${REVISION}
LABEL org.opencontainers.image.title="ATOM platform" \
    org.opencontainers.image.description="Runs agents, with health probes, metrics and logs that hold under faults" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"

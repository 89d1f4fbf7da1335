# The service and nothing else: no compiler, no pip, no cache, and nothing that its user could write.
#
# It runs with a read-only root file system as uid 10001. What it writes, it writes to
#   /dev/shm   metrics and worker heartbeats (every runtime mounts one; 64 MB is enough to start with)
#   /app/var   the embedded SQLite database; not needed with DATABASE_URL=postgresql://…
# PostgreSQL is migrated by a run of its own, before the service starts:
#   docker run --rm --env DATABASE_URL IMAGE python -m atom_platform migrate

# Debian with Python 3.11 and the venv module; a digest pins it: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# The system's certificates, so that a company's own can be mounted into the build.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Two environments: pip and setuptools stay in the one that is thrown away.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements.txt deploy/image/requirements-build.txt ./
# Wheels only: a package that would have to be compiled here stops the build.
RUN /opt/pip/bin/pip install --require-hashes --only-binary :all: -r requirements-build.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install \
        --no-compile --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY atom_platform atom_platform
COPY wsgi.py gunicorn.conf.py /app/
ARG SOURCE_DATE_EPOCH=0
# Bytecode goes into the image, since nobody can write it later. It is checked against nothing: the
# default, the source's time of change, would differ between two builds of one commit.
RUN export SOURCE_DATE_EPOCH \
    && /opt/pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index dist/*.whl \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app

FROM ${PYTHON_IMAGE}
# curl is for the health check of ECS, which runs inside. Its version is Debian's of the day: Debian
# keeps no older one to pin.
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
# By number: only so can Kubernetes tell that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness, not readiness: what is told here gets the container replaced. ECS reads its own instead.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "atom_platform", "probe", "live"]
# gunicorn is the first process: it gets the signals, and reaps what is left behind.
CMD ["gunicorn", "wsgi:app"]

ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ENV ATOM_REVISION=${REVISION}
LABEL org.opencontainers.image.title="ATOM platform" \
    org.opencontainers.image.description="Runs agents, and tells its operators honestly and fast how it is doing" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"

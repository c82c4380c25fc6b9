FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# What builds the wheel is pinned by hash too, in the lock of development. It stays in this stage.
COPY requirements.lock ./
RUN python -m venv /tools && /tools/bin/pip install --require-hashes --only-binary=:all: -r requirements.lock
COPY requirements-run.lock ./
RUN python -m venv /opt/mintage \
    && /opt/mintage/bin/pip install --require-hashes --only-binary=:all: -r requirements-run.lock
COPY pyproject.toml README.md ./
COPY mintage mintage
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && /opt/mintage/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/mintage/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="mintage" \
      org.opencontainers.image.description="Backend of products that sell AI images and videos for prepaid credits"
# A volume is made with the owner of the folder that it covers.
RUN groupadd --gid 10001 mintage \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin mintage \
    && install --directory --owner=mintage --group=mintage --mode=700 /data
COPY --from=build /opt/mintage /opt/mintage
ENV PATH=/opt/mintage/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MINTAGE_HOST=0.0.0.0 \
    MINTAGE_PORT=3001 \
    MINTAGE_DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ['MINTAGE_PORT']), timeout=4); server.request('GET', '/health/ready'); sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["mintage"]
CMD ["serve"]

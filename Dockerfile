FROM python:3.13-slim-bookworm AS packages

# requirements-scale.lock for API nodes and workers, see docker/compose.scale.yml
ARG LOCK=requirements.lock
COPY ${LOCK} /tmp/requirements.lock
# pip stays out of the environment that is shipped
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python --disable-pip-version-check --no-cache-dir \
        install --require-hashes --only-binary :all: --compile -r /tmp/requirements.lock


FROM python:3.13-slim-bookworm

RUN groupadd --gid 10001 echo2pheno \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin echo2pheno \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data /keys

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    ECHO2PHENO_DATA_DIR=/data \
    ECHO2PHENO_HOST=0.0.0.0

WORKDIR /srv/echo2pheno
COPY --from=packages /opt/venv /opt/venv
COPY docker/healthcheck.py docker/healthcheck.py
COPY models/ models/
COPY app/ app/
RUN python -m compileall -q app models

USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python", "docker/healthcheck.py"]

ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]

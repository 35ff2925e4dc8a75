# One image for web, worker and beat; compose.yaml has the three commands. docs/deploying.md says how to put your graphs in.

FROM python:3.11-slim AS packages
WORKDIR /app
COPY pyproject.toml constraints.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt uv \
    && VIRTUAL_ENV=/venv /venv/bin/uv pip install --no-cache -c constraints.txt -r pyproject.toml --extra otel

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /data switchyard \
    && install --directory --owner=switchyard --mode=700 /data
COPY --from=packages /venv /venv
WORKDIR /app
COPY . .
ENV PATH=/venv/bin:$PATH \
    VIRTUAL_ENV=/venv \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=2024 \
    DATA_DIR=/data \
    ALIVE_FILE=/tmp/alive
USER switchyard
EXPOSE 2024
# Of the web process; worker and beat have their own in compose.yaml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "platform_site.processes.alive", "--web"]
CMD ["python", "manage.py", "serve"]

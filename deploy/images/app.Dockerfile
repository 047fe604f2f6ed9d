# Router, management, Dagster, portal, simulated engine and setup: one set of packages, one target for each process.
# The index of packages comes from the builder's own pip configuration: `--secret id=pip,src=/etc/pip.conf`; without it, pip's default.
FROM python:3.11.13-slim-bookworm AS packages
COPY requirements/app.txt /tmp/app.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/inferhouse \
    && /opt/inferhouse/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/app.txt

FROM python:3.11.13-slim-bookworm AS app
# Volumes take the owner of the folder that they are mounted on.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin inferhouse \
    && install -d -o 10001 -g 10001 /var/lib/inferhouse/journal /var/lib/inferhouse/dagster
COPY --from=packages /opt/inferhouse /opt/inferhouse
WORKDIR /srv/inferhouse
COPY . .
ENV PATH=/opt/inferhouse/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/srv/inferhouse \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
RUN python -m compileall -q /srv/inferhouse
USER 10001:10001

FROM app AS setup
# Exits when the database is at this version, its roles have their passwords, and the catalogue is in it.
CMD ["sh", "-ec", "python -m warehouse.migrations; python -m warehouse.role_passwords; python -m deploy.images.seed_input | python -m warehouse.seed"]

FROM app AS router
ENV ROUTER_HOST=0.0.0.0
EXPOSE 8000
CMD ["python", "-m", "router"]

FROM app AS engine-simulated
ENV SIMULATED_HOST=0.0.0.0
EXPOSE 8101
CMD ["python", "-m", "engines.simulated"]

FROM app AS dagster
ENV DAGSTER_HOME=/var/lib/inferhouse/dagster
# Each process of Dagster reads the instance's settings from its home, a volume that they share.
ENTRYPOINT ["sh", "-ec", "cp orchestration/dagster.yaml \"$DAGSTER_HOME/dagster.yaml\"; exec \"$@\"", "sh"]

FROM dagster AS dagster-code
EXPOSE 4266
CMD ["dagster", "api", "grpc", "-m", "orchestration.definitions", "--host", "0.0.0.0", "--port", "4266"]

FROM dagster AS dagster-webserver
EXPOSE 3000
CMD ["dagster-webserver", "-w", "deploy/images/dagster-workspace.yaml", "--host", "0.0.0.0", "--port", "3000"]

FROM dagster AS dagster-daemon
CMD ["dagster-daemon", "run", "-w", "deploy/images/dagster-workspace.yaml"]

FROM app AS portal
EXPOSE 8501
CMD ["streamlit", "run", "dashboards/streamlit_app.py", "--server.address", "0.0.0.0", "--server.port", "8501", "--server.headless", "true", "--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]

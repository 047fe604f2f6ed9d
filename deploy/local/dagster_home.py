"""DAGSTER_HOME of an instance: Dagster's own configuration, and where its code server is."""

from pathlib import Path

from deploy.local.instance import Instance

WORKSPACE = "workspace.yaml"


def folder(instance: Instance) -> Path:
    return instance.layout.work / "dagster-home"


def prepare(instance: Instance) -> None:
    """Write both files; Dagster reads them when it starts."""
    home = instance.account.folder(folder(instance))
    instance.account.write(home / "dagster.yaml", (instance.layout.root / "orchestration" / "dagster.yaml").read_text())
    server = f"{{host: 127.0.0.1, port: {instance.ports['dagster_code']}, location_name: inferhouse}}"
    instance.account.write(home / WORKSPACE, f"load_from:\n  - grpc_server: {server}\n")

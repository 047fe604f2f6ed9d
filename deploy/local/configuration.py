"""Files that programs of others read when they start: Dagster's home and workspace, Streamlit's configuration."""

from pathlib import Path

from deploy.local.instance import Instance

WORKSPACE = "workspace.yaml"


def dagster_home(instance: Instance) -> Path:
    return instance.layout.work / "dagster-home"


def write(instance: Instance) -> None:
    """Write all of them anew from the repository's."""
    root, account = instance.layout.root, instance.account
    home = account.folder(dagster_home(instance))
    account.write(home / "dagster.yaml", (root / "orchestration" / "dagster.yaml").read_text())
    server = f"{{host: 127.0.0.1, port: {instance.ports['dagster_code']}, location_name: inferhouse}}"
    account.write(home / WORKSPACE, f"load_from:\n  - grpc_server: {server}\n")
    # Dagster asks the first visitor for an e-mail address, unless this file says that somebody was asked already.
    account.write(account.folder(home / ".nux") / "nux.yaml", "seen: 1\n")
    # Streamlit looks for it where it is started, and every program runs in a folder of its own.
    streamlit = account.folder(instance.layout.work / "portal" / ".streamlit")
    account.write(streamlit / "config.toml", (root / ".streamlit" / "config.toml").read_text())

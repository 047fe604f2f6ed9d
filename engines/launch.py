"""Profile -> command line and environment of vLLM. Pure but for `main`; vLLM is never imported.

`python -m engines.launch h200 /models/llama` prints the command; with `--exec` this process becomes the engine.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.catalog import Catalog, Profile, load
from warehouse.base.errors import InferhouseError

# What every engine gets, whatever it runs on: no calls home, no look-ups outside the model directory.
ENVIRONMENT_ALWAYS = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """argv to execute, and the variables to lay over the environment of whoever executes it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def command(
    profile_name: str,
    model_dir: Path,
    port: int,
    python: Path,
    *,
    host: str = "127.0.0.1",
    catalog: Catalog | None = None,
) -> LaunchCommand:
    """The command that serves the profile's model from `model_dir` on `host`:`port` with that Python's vLLM.

    With more than one node this is the head's command; the other nodes join its Ray cluster beforehand.
    Raises: UnknownName: no such profile.  ValueError: port outside 1 to 65535.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is outside 1 to 65535")
    known = catalog or load()
    profile = known.profile(profile_name)
    model = known.model(profile.model)
    argv = (
        str(python), "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(model_dir),
        "--served-model-name", model.name,
        "--host", host,
        "--port", str(port),
        "--max-model-len", str(model.context_tokens_max),
        *_profile_flags(profile),
        # Tokens are billed from the engine's own counts: they must be there even if a caller's body asks otherwise.
        "--enable-force-include-usage",
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
    )  # fmt: skip
    return LaunchCommand(argv=argv, env={**ENVIRONMENT_ALWAYS, **profile.environment})


def _profile_flags(profile: Profile) -> list[str]:
    values: dict[str, str | int | None] = {
        "--max-num-seqs": profile.sequences_max,
        "--max-num-batched-tokens": profile.batched_tokens_max,
        "--quantization": profile.quantization,
        "--kv-cache-dtype": profile.kv_cache_dtype,
        "--gpu-memory-utilization": profile.gpu_memory_share,
        "--tensor-parallel-size": profile.tensor_parallel if profile.tensor_parallel > 1 else None,
        "--pipeline-parallel-size": profile.pipeline_parallel if profile.pipeline_parallel > 1 else None,
        "--distributed-executor-backend": profile.executor,
    }
    flags = [part for flag, value in values.items() if value is not None for part in (flag, str(value))]
    return [*flags, "--enforce-eager"] if profile.enforce_eager else flags


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 for an unknown profile or port. With `--exec` it does not return."""
    parser = argparse.ArgumentParser("python -m engines.launch", description=__doc__)
    parser.add_argument("profile", help="a profile of engines/catalog.toml")
    parser.add_argument("model_dir", type=Path, help="folder with the model's weights and tokenizer")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of vLLM's environment (default: this one)")
    parser.add_argument("--exec", action="store_true", help="become the engine instead of printing its command")
    args = parser.parse_args(argv)
    try:
        launch = command(args.profile, args.model_dir, args.port, args.python, host=args.host)
    except (InferhouseError, ValueError) as error:
        sys.stderr.write(f"cannot launch: {error}\n")
        return 1
    if args.exec:
        os.execve(launch.argv[0], launch.argv, {**os.environ, **launch.env})  # noqa: S606  the point of it
    variables = [f"{name}={shlex.quote(value)}" for name, value in launch.env.items()]
    sys.stdout.write(" ".join([*variables, shlex.join(launch.argv)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

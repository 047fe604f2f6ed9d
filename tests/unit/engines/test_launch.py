"""Profiles become command lines that vLLM understands."""

import subprocess
import sys
from pathlib import Path

import pytest

from engines.catalog import UnknownName, load
from engines.launch import LaunchCommand, command

PYTHON = Path("/opt/vllm/bin/python")
MODEL = Path("/models/one")


def values_of(launch: LaunchCommand, flag: str) -> list[str]:
    return [launch.argv[index + 1] for index, part in enumerate(launch.argv) if part == flag]


def test_the_cpu_profile_is_the_command_that_was_tried() -> None:
    launch = command("cpu-small", MODEL, 8100, PYTHON)
    assert launch.argv[:3] == (str(PYTHON), "-m", "vllm.entrypoints.openai.api_server")
    assert values_of(launch, "--model") == [str(MODEL)]
    assert values_of(launch, "--served-model-name") == ["smollm2-135m-instruct"]
    assert values_of(launch, "--max-model-len") == ["2048"]
    assert values_of(launch, "--max-num-seqs") == ["8"]
    assert "--enforce-eager" in launch.argv
    assert launch.env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert launch.env["HF_HUB_OFFLINE"] == launch.env["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.parametrize("name", list(load().profiles))
def test_every_profile_listens_locally_and_always_counts_tokens(name: str) -> None:
    launch = command(name, MODEL, 8100, PYTHON)
    assert values_of(launch, "--host") == ["127.0.0.1"]
    assert values_of(launch, "--port") == ["8100"]
    assert "--enable-force-include-usage" in launch.argv
    assert "--enable-prompt-tokens-details" in launch.argv
    assert len(launch.argv) == len([part for part in launch.argv if part])


def test_two_nodes_run_tensor_parallel_inside_and_pipeline_between_on_ray() -> None:
    launch = command("h100-two-nodes", MODEL, 8100, PYTHON)
    assert values_of(launch, "--tensor-parallel-size") == ["8"]
    assert values_of(launch, "--pipeline-parallel-size") == ["2"]
    assert values_of(launch, "--distributed-executor-backend") == ["ray"]


def test_an_unknown_profile_or_port_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean h200"):
        command("h20", MODEL, 8100, PYTHON)
    with pytest.raises(ValueError, match="70000"):
        command("h200", MODEL, 70_000, PYTHON)


def test_vllm_is_never_imported() -> None:
    code = "import sys, engines.launch, engines.probe, engines.load; sys.exit('vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Cores, and what is read of a process."""

import os
import time
from pathlib import Path

import pytest

from tests.bench.router import meters
from tests.bench.router.machine import Cores, cpu_model, missing_tools, run_folder


def test_router_and_load_have_a_core_each() -> None:
    cores = Cores.split([3, 0])
    assert (cores.router, cores.load) == ((0,), 3)


def test_each_worker_has_a_core() -> None:
    assert Cores.split(range(4), 2) == Cores((0, 1), 3)


def test_on_two_cores_the_second_worker_is_beside_the_load() -> None:
    cores = Cores.split([0, 1], 2)
    assert cores.load in cores.router


def test_one_core_is_too_few() -> None:
    with pytest.raises(ValueError, match="two cores"):
        Cores.split([0])


def test_commands_are_bound_and_end_with_the_benchmark() -> None:
    command = " ".join(Cores((0, 1), 3).on_router(["router", "--port", "1"]))
    assert command.endswith("taskset -c 0,1 setpriv --pdeathsig KILL -- router --port 1")
    assert "taskset -c 3 " in " ".join(Cores((0, 1), 3).on_load(["wrk"]))


def test_folder_of_a_run_goes_with_it_and_with_what_was_killed(tmp_path: Path) -> None:
    running, killed = tmp_path / "run-1", tmp_path / f"run-{2**22 + 1}"  # no process has a number above 2**22
    for folder in (running, killed):
        folder.mkdir()
    with run_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert sorted(tmp_path.iterdir()) == sorted([running, folder])
    assert list(tmp_path.iterdir()) == [running]


def test_missing_programs_are_named_by_their_packages() -> None:
    assert {"nodejs", "npm"} <= set(missing_tools(["no-such-program"]))


def test_processor_is_named() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: A Processor\nprocessor\t: 1\nmodel name\t: A Processor\n") == "A Processor"
    assert cpu_model("") == "unknown processor"


def test_user_and_system_time_count_together() -> None:
    """The name of a program may look like the fields after it."""
    text = "42 (a ) S 9 (b) S 7 1 1 0 -1 4194304 1 0 0 0 150 25 0 0 20 0 1 0 100 1 1 1"
    assert meters.parse_stat(text) == meters.Stat(parent=7, ticks=175, kernel_ticks=25)


def test_cpu_of_a_process_born_meanwhile_counts_whole() -> None:
    assert meters.cpu_us_between({1: 10}, {1: 15, 2: 3}) == 8 * meters.TICK_US


def test_memory_is_read_in_kib() -> None:
    assert meters.rss_kib("Name:\tx\nVmHWM:\t 9000 kB\nVmRSS:\t  8000 kB\n") == 8000
    assert meters.pss_kib("00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss: 700 kB\nPss_Dirty: 3 kB\n") == 700
    assert meters.rss_kib("") == 0


def test_own_process_is_measured() -> None:
    before, deadline_s = meters.cpu_ticks(os.getpid()), time.monotonic() + 10
    while meters.cpu_us_between(before, meters.cpu_ticks(os.getpid())) < 50_000:
        assert time.monotonic() < deadline_s
    assert meters.memory_mib(os.getpid()) > 10
    with meters.MemorySampler(os.getpid(), interval_s=60) as sampled:
        pass
    assert len(sampled.mib) == len(sampled.at_s) == 2

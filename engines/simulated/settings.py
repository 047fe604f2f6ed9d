"""Settings of the simulated engine: a flag and a variable for each, the flag wins."""

import argparse
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field, field_validator

from engines.simulated.faults import FAILING, Fault
from warehouse.base.errors import SettingsError
from warehouse.base.settings import Settings, nearest


class SimulatedSettings(Settings):
    """`--ttft-ms 20` or `SIMULATED_TTFT_MS=20`."""

    PREFIX: ClassVar[str] = "SIMULATED_"

    host: str = "127.0.0.1"
    port: int = Field(default=8101, ge=0, le=65535)  # 0 takes a free one and prints it
    model: str = Field(default="simulated", min_length=1)  # the name it answers to
    seed: int = 0  # same seed, same body: same answer
    context_tokens_max: int = Field(default=32768, gt=0)  # prompt plus answer; more is refused with 400
    output_tokens_max: int = Field(default=8192, gt=0)  # answers stop here when the caller sets no limit

    ttft_ms: float = Field(default=0, ge=0)  # from getting a place to the first token
    ttft_jitter: float = Field(default=0, ge=0, le=1)  # 0.2: each first token within 20 % of ttft_ms
    tokens_per_second: float = Field(default=0, ge=0)  # of each sequence; 0 means as fast as it can
    tokens_per_chunk: int = Field(default=1, gt=0)  # vLLM puts several in a chunk when it is busy
    answer_tokens: int = Field(default=32, gt=0)  # mean; drawn between a half and one and a half of it
    sequences_max: int = Field(default=256, gt=0)  # generated at once; the rest wait in order
    queue_max: int = Field(default=10_000, ge=0)  # waiting; more are refused with 503
    prefix_cache_blocks: int = Field(default=65_536, ge=0)  # of 16 tokens; 0 turns prefix caching off
    kv_cache_tokens: int = Field(default=1_048_576, gt=0)  # what kv_cache_usage_perc is a part of
    force_include_usage: bool = False  # as vLLM's flag: usage in every chunk, asked for or not
    embedding_dimensions: int = Field(default=64, gt=0, le=4096)

    fault_probability: float = Field(default=0, ge=0, le=1)  # of each request; depends on seed and arrival number
    faults: str = ",".join(FAILING)  # which, each as likely; values as in the header: "die=3,429"
    stall_s: float = Field(default=3600, gt=0)  # length of a stall that does not say how long

    ledger_max: int = Field(default=100_000, gt=0)  # requests remembered; about 300 bytes each
    body_bytes_max: int = Field(default=8 * 1024 * 1024, gt=0)  # larger bodies get 413
    keep_alive_s: float = Field(default=5, gt=0)  # as vLLM: idle connections are closed after this
    shutdown_s: float = Field(default=10, ge=0)  # running answers may finish within this after SIGTERM

    @field_validator("faults")
    @classmethod
    def _known_faults(cls, text: str) -> str:
        for part in text.split(","):
            Fault.parse(part)
        return text

    @classmethod
    def from_args(cls, argv: Sequence[str], env: Mapping[str, str]) -> Self:
        """Settings from the command line over the environment.

        Raises: SettingsError: an unknown flag or variable (with the nearest right name), or a wrong value.
        """
        flags = {f"--{name.replace('_', '-')}": name for name in cls.model_fields}
        parser = argparse.ArgumentParser("python -m engines.simulated", allow_abbrev=False, argument_default=argparse.SUPPRESS)
        for flag, name in flags.items():
            if cls.model_fields[name].annotation is bool:
                parser.add_argument(flag, nargs="?", const="true")
            else:
                default = cls.model_fields[name].default
                parser.add_argument(flag, help=f"default: {default}".replace("%", "%%"))
        given, unknown = parser.parse_known_args(argv)
        if unknown:
            word = unknown[0].partition("=")[0]
            raise SettingsError(f"unknown flag {word}; {nearest(word, list(flags))}", param=word)
        return cls.from_env({**env, **{f"{cls.PREFIX}{name.upper()}": value for name, value in vars(given).items()}})

"""wrk: fixed connections, as many requests as they take."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.router.machine import Cores

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
BODY = (
    '{"model":"m","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user",'
    '"content":"Tell me something nice about benchmarks, in one sentence, please."}],"max_tokens":32}'
)


@dataclass(frozen=True, slots=True)
class WrkResult:
    """What wrk saw. Latencies in milliseconds."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failures: int


def _ms(text: str) -> float:
    """`1.25ms`, `812.00us`, `1.03s` in milliseconds."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_MS[unit]


def parse_wrk(text: str) -> WrkResult:
    """Read what `wrk --latency` printed. Raises: ValueError: that is no output of wrk."""

    def one(pattern: str) -> str:
        found = re.search(pattern, text, re.MULTILINE)
        if found is None:
            raise ValueError(f"no output of wrk:\n{text}")
        return found[1]

    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = int(refused[1]) if refused else 0
    failures += sum(int(count) for count in broken.groups()) if broken else 0
    return WrkResult(
        requests=int(one(r"(\d+) requests in")),
        requests_per_s=float(one(r"Requests/sec:\s+([\d.]+)")),
        p50_ms=_ms(one(r"^\s+50%\s+(\S+)")),
        p99_ms=_ms(one(r"^\s+99%\s+(\S+)")),
        failures=failures,
    )


def script(headers: dict[str, str]) -> str:
    """The request in wrk's language; constant, so that wrk makes it once."""
    lines = ['wrk.method = "POST"', *(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())]
    return "\n".join([*lines, f"wrk.body = '{BODY}'"]) + "\n"


def run_wrk(cores: Cores, lua: Path, port: int, *, connections: int, seconds: float) -> WrkResult:
    """Load on a port for some seconds."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "10s", "--latency", "-s", str(lua), url]
    done = subprocess.run(cores.on_load(argv), capture_output=True, text=True, check=True, timeout=seconds + 60)
    return parse_wrk(done.stdout)

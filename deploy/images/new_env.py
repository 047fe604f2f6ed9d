"""`python3 deploy/images/new_env.py > .env`: fresh secrets for docker-compose.yml. Needs nothing but Python.

`--engine cpu` adds vLLM on the processor, `--engine gpu --profile NAME` vLLM on GPUs; the simulated engine is always there.
"""

import argparse
import hashlib
import hmac
import json
import secrets
import string
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

LETTERS_AND_DIGITS = string.ascii_letters + string.digits  # nothing that a URL, a shell or dotenv would read otherwise
PUBLIC_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
ROLES = ("router", "management", "transform", "portal", "platform", "dagster")
SIMULATED = "simulated=simulated:simulated@http://engine-simulated:8101"
CATALOG_PATH = Path(__file__).parents[2] / "engines" / "catalog.toml"


def text(characters: int = 32, alphabet: str = LETTERS_AND_DIGITS) -> str:
    """Random characters."""
    return "".join(secrets.choice(alphabet) for _ in range(characters))


def gpu_profiles() -> dict[str, str]:
    """Launch profiles for GPUs, and the model of each. Read here without a check, which is the catalogue's own work."""
    profiles = tomllib.loads(CATALOG_PATH.read_text(encoding="utf-8"))["profiles"]
    return {name: profile["model"] for name, profile in profiles.items() if profile["device"] == "cuda"}


def new_env(engine: str, profile: str) -> dict[str, str]:
    """Every variable that docker-compose.yml asks for; `profile` is for `gpu` only."""
    roles = {role: text() for role in ROLES}
    pepper = text()
    real = {
        "simulated": [],
        "cpu": ["vllm-cpu=vllm:smollm2-135m-instruct@http://engine-cpu:8100"],
        "gpu": [f"vllm-gpu=vllm:{gpu_profiles()[profile]}@http://engine-gpu:8100"],
    }
    return {
        "COMPOSE_PROFILES": "" if engine == "simulated" else engine,
        "STACK_ENGINES": " ".join([SIMULATED, *real[engine]]),
        "STACK_GPU_PROFILE": profile,
        "STACK_POSTGRES_PASSWORD": text(),
        "STACK_OWNER_PASSWORD": text(),
        **{f"STACK_{role.upper()}_PASSWORD": password for role, password in roles.items()},
        "STACK_ROLE_PASSWORDS": json.dumps({f"inferhouse_{role}": password for role, password in roles.items()}),
        "STACK_REDIS_PASSWORD": text(),
        "STACK_KEY_PEPPER": pepper,
        # As warehouse.identity.webhooks.webhook_key makes it; a test compares.
        "STACK_WEBHOOK_KEY": hmac.digest(pepper.encode(), b"webhooks\0", hashlib.sha256).hex(),
        "STACK_SESSION_SECRET": text(),
        "STACK_SEALING_KEY": text(),
        "STACK_ORGANIZATION": f"org_{text(20, PUBLIC_ID_LETTERS)}",
        "STACK_PROJECT": f"proj_{text(20, PUBLIC_ID_LETTERS)}",
        "STACK_USER": f"user_{text(20, PUBLIC_ID_LETTERS)}",
        "STACK_ADMIN_PASSWORD": text(20),
        "STACK_API_KEY": f"sk-ih-{text(16)}-{text(40)}",
        "STACK_ADMIN_KEY": f"sk-ih-{text(16)}-{text(40)}",
        "STACK_SQL_PASSWORD": text(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print dotenv lines; whoever redirects them decides who may read the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("simulated", "cpu", "gpu"), default="simulated")
    parser.add_argument("--profile", choices=gpu_profiles(), default="h200", help="with --engine gpu")
    args = parser.parse_args(argv)
    lines = [f"{name}='{value}'" for name, value in new_env(args.engine, args.profile).items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

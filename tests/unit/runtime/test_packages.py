"""uv is told where pip gets its packages."""

from pathlib import Path

from deploy.local.packages import source_options, sync_command, sync_environment

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_configured_means_no_options() -> None:
    assert source_options({"timeout": "60"}) == []


def test_every_source_of_pip_is_handed_on() -> None:
    settings = {"index-url": "https://one.example/simple", "extra-index-url": "file:///a file:///b", "find-links": "/wheels"}
    assert source_options(settings) == [
        "--default-index", "https://one.example/simple", "--index", "file:///a", "--index", "file:///b",
        "--find-links", "/wheels", "--index-strategy", "unsafe-best-match",
    ]  # fmt: skip


def test_packages_without_a_hash_are_refused() -> None:
    assert "--require-hashes" in sync_command(Path("/env"), Path("requirements/app.txt"), {})


def test_variable_of_the_user_wins_over_pips_certificate(monkeypatch: object) -> None:
    assert sync_environment({"cert": "/pip.crt"})["SSL_CERT_FILE"]


def test_bootstrap_installs_the_uv_that_the_locks_name() -> None:
    """Else the sync would replace the program that is running it."""
    pins = {
        next(line for line in (ROOT / "requirements" / name).read_text().splitlines() if line.startswith("uv=="))
        for name in ("bootstrap.txt", "app.txt", "dev.txt")
    }
    assert len(pins) == 1

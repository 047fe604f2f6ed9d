"""Signatures as Standard Webhooks has them, secrets that tell nothing of each other, and addresses of the internet only."""

import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from deploy.images.new_env import new_env
from orchestration.defs.outbox.outlet import outlet_of
from orchestration.settings import OrchestrationSettings
from warehouse.base.errors import SettingsError
from warehouse.identity.networks import parse_networks
from warehouse.identity.webhooks import check_url, is_public, may_go_to, secret_of, signature, webhook_key

ENV = {"ORCHESTRATION_DATABASE_URL": "postgresql://a/b", "ORCHESTRATION_DAGSTER_DATABASE_URL": "postgresql://a/b"}


def test_a_signature_is_that_of_the_standards_own_example() -> None:
    sent = signature(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert sent == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_webhook_and_each_rotation_has_another_secret() -> None:
    secrets = {secret_of(b"k" * 32, name, serial) for name in ("webhook_a", "webhook_b") for serial in (1, 2, 12)}
    assert len(secrets) == 6
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in secrets)
    assert secret_of(b"k" * 32, "webhook_a", 1) == secret_of(b"k" * 32, "webhook_a", 1)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1",
        "192.0.2.1", "2001:db8::1", "198.18.0.1", "240.0.0.1", "fec0::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::a00:1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_internet_is_known(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is_known(address: str) -> None:
    assert is_public(ip_address(address))


def test_a_network_that_the_operator_names_is_allowed() -> None:
    networks = parse_networks(["10.0.0.0/8"])
    assert may_go_to(ip_address("10.9.9.9"), networks)
    assert not may_go_to(ip_address("192.168.0.1"), networks)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "a.example", "https://", "https:///path", "https://user:pw@a.example/", "https://a.example/#x",
        "https://a.example/a b", "https://a.example/\r\nhost: b", "https://ä.example/", "https://a.example:0/",
        "https://a.example:99999/", "https://[::1", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_url(url)


def test_a_scheme_is_kept_in_lower_case_and_the_rest_as_it_came() -> None:
    assert check_url("HTTPS://A.example/X%zz") == "https://A.example/X%zz"
    assert check_url("https://a.example?x") == "https://a.example?x"


def test_the_key_is_the_same_however_it_is_made() -> None:
    env = new_env("simulated", "h200")
    pepper = env["STACK_KEY_PEPPER"]
    command = [sys.executable, "-m", "warehouse.webhook_key"]
    done = subprocess.run(command, input=pepper + "\n", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == env["STACK_WEBHOOK_KEY"] == webhook_key(pepper.encode()).hex()
    assert subprocess.run(command, input="", capture_output=True, text=True, check=False).returncode == 1


def test_settings_of_the_outbox_are_checked_at_the_start() -> None:
    assert outlet_of(OrchestrationSettings.from_env(ENV | {"ORCHESTRATION_WEBHOOK_KEY": ""})) is None
    mail = {"ORCHESTRATION_SMTP_HOST": "mail.example", "ORCHESTRATION_SMTP_SENDER": "a@b.example"}
    networks = {"ORCHESTRATION_WEBHOOK_NETWORKS": "10.0.0.0/8, fd00::/8"}
    outlet = outlet_of(OrchestrationSettings.from_env(ENV | mail | networks | {"ORCHESTRATION_WEBHOOK_KEY": "ab" * 32}))
    assert outlet is not None
    assert (outlet.key, len(outlet.networks)) == (b"\xab" * 32, 2)
    assert outlet.mail_server is not None
    assert (outlet.mail_server.port, outlet.mail_server.security, outlet.mail_server.password) == (587, "starttls", None)
    for name, value in (("WEBHOOK_KEY", "abc"), ("WEBHOOK_KEY", "ab"), ("WEBHOOK_NETWORKS", "10"), ("SMTP_HOST", "x")):
        with pytest.raises(SettingsError):
            OrchestrationSettings.from_env(ENV | {f"ORCHESTRATION_{name}": value})

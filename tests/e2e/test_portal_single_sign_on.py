"""Single sign-on as a person does it: from the portal to a real identity provider and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.test_portal import FLAGS
from tests.e2e.test_portal_sign_in import SEEN_MS
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, Person, identity_provider
from tests.local_instance import LocalInstance, local_instance
from tests.processes import running
from tests.services import free_port

ADA = Person("ada", "ada@people.example", "a password at the provider", ["engineering"])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[LocalInstance]:
    """An instance that signs people in at the provider only."""
    made = local_instance("sso")
    made.remove()
    portal = f"http://127.0.0.1:{made.ports['portal']}"
    provider = identity_provider(free_port(), tmp_path / "provider.log", [ADA], [portal])
    with running(provider):
        settings = {
            "INFERHOUSE_ENGINE": "simulated",
            "ROUTER_OIDC_ISSUER": provider.url,
            "ROUTER_OIDC_CLIENT_ID": CLIENT_ID,
            "ROUTER_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "ROUTER_OIDC_SCOPES": "openid email profile groups",
            "ROUTER_OIDC_EMAIL_TRUSTED": "true",
            "ROUTER_PASSWORD_SIGN_IN": "false",
        }
        try:
            done = made.command("up", **settings)
            assert done.returncode == 0, done.stderr
            yield made
        finally:
            made.remove()


def test_from_the_portal_to_the_provider_and_back(instance: LocalInstance) -> None:
    portal = instance.outputs["INFERHOUSE_PORTAL_URL"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = chromium.new_context().new_page()
        page.goto(portal)
        page.get_by_role("button", name="Single sign-on").click(timeout=SEEN_MS)
        page.locator("#login").fill(ADA.name, timeout=SEEN_MS)
        page.locator("#login").press("Enter")
        page.locator("#password").fill(ADA.password, timeout=SEEN_MS)
        page.locator("#password").press("Enter")
        expect(page.get_by_text("You are not a member of an organization yet")).to_be_visible(timeout=SEEN_MS)
        expect(page.get_by_text(ADA.email).first).to_be_visible(timeout=SEEN_MS)
        page.reload()  # the session is in the browser now
        expect(page.get_by_text(ADA.email).first).to_be_visible(timeout=SEEN_MS)
        stranger = chromium.new_context().new_page()
        stranger.goto(f"{portal}/?code=somebody&state=elses")
        expect(stranger.get_by_text("not begun in this browser")).to_be_visible(timeout=SEEN_MS)
        chromium.close()

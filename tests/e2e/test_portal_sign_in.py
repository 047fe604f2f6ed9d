"""Signing in as a person does it in a browser: the second factor, a device, and the end of a session."""

import re
from collections.abc import Iterator

import httpx
import psycopg
import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.test_portal import FLAGS
from warehouse.base.ids import public_id
from warehouse.identity.passwords import hash_password

SEEN_MS = 30_000
PASSWORD = "a password of somebody new"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    yield context.new_page()
    context.close()


@pytest.fixture
def email(stack: dict[str, str]) -> str:
    """Somebody new in the demo organization."""
    email = f"{public_id('u')}@demo.example"
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"]) as conn:
        conn.execute(
            "with added as (insert into control.users (public_id, email, name, password_hash) values (%s, %s, 'New', %s)"
            " returning id)"
            " insert into control.org_members (org_id, user_id, role) select m.org_id, a.id, 'member'"
            " from added a, control.org_members m limit 1",
            [public_id("user"), email, hash_password(PASSWORD)],
        )
    return email


def _fill(page: Page, email: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_second_factor_is_set_up_and_asked_for(page: Page, stack: dict[str, str], email: str) -> None:
    page.goto(stack["INFERHOUSE_PORTAL_URL"])
    _fill(page, email)
    page.get_by_role("link", name="Account").click()
    page.get_by_test_id("stForm").filter(has_text="Set up").get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()
    said = page.get_by_text(re.compile("Or type the secret")).inner_text(timeout=SEEN_MS)
    totp = pyotp.TOTP(said.rpartition(":")[2].strip())
    page.get_by_label("Code").fill(totp.now())
    page.get_by_role("button", name="Turn on").click()
    codes = page.get_by_test_id("stCode").inner_text(timeout=SEEN_MS).split()
    assert len(codes) == 10
    page.get_by_role("button", name="I have kept them").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("E-mail")).to_be_visible(timeout=SEEN_MS)
    _fill(page, email)
    code = page.get_by_label("Code of your authenticator")
    expect(code).to_be_visible(timeout=SEEN_MS)
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    code.fill(codes[0])
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible(timeout=SEEN_MS)
    expect(page.get_by_text("Mozilla").first).to_be_visible(timeout=SEEN_MS)


def test_a_device_is_let_in_by_its_code(page: Page, stack: dict[str, str], email: str) -> None:
    api = stack["INFERHOUSE_BASE_URL"]
    begun = httpx.post(f"{api}/sessions/device", json={}, headers={"user-agent": "a device of the tests"}).json()
    page.goto(begun["verification_uri_complete"])
    _fill(page, email)
    expect(page.get_by_role("heading", name="Sign in a device")).to_be_visible(timeout=SEEN_MS)
    expect(page.get_by_text("a device of the tests")).to_be_visible(timeout=SEEN_MS)
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_text("go back to it")).to_be_visible(timeout=SEEN_MS)
    session = httpx.post(f"{api}/sessions/device/token", json={"device_code": begun["device_code"]}).json()
    assert (session["user"]["email"], session["method"]) == (email, "device")


def test_a_session_that_was_ended_elsewhere_asks_for_the_password(page: Page, stack: dict[str, str], email: str) -> None:
    page.goto(stack["INFERHOUSE_PORTAL_URL"])
    _fill(page, email)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=SEEN_MS)
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"]) as conn:
        conn.execute("update control.sessions set revoked_at = now()")
    page.reload()
    expect(page.get_by_label("E-mail")).to_be_visible(timeout=SEEN_MS)


def test_an_invited_person_joins_by_the_link_and_signs_in(page: Page, stack: dict[str, str]) -> None:
    email = f"{public_id('u')}@demo.example"
    answer = httpx.post(
        stack["INFERHOUSE_BASE_URL"] + "/organization/invites",
        json={"email": email, "role": "member"},
        headers={
            "authorization": f"Bearer {stack['INFERHOUSE_ADMIN_KEY']}",
            "OpenAI-Organization": stack["INFERHOUSE_ORGANIZATION"],
        },
    )
    page.goto(answer.json()["url"])
    page.get_by_label("Name").fill("Somebody Invited")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_text("You have joined")).to_be_visible(timeout=SEEN_MS)
    page.goto(stack["INFERHOUSE_PORTAL_URL"])
    _fill(page, email)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=SEEN_MS)

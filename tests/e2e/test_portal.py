"""The whole path as a person sees it: a request by SDK, its row, its marts, its numbers on the page."""

import csv
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import openai
import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

VISIBLE_S_MAX = 60
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
SUMS = (
    "select coalesce(sum(requests), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint, "
    "coalesce(sum(output_tokens), 0)::bigint from marts.usage_hourly"
)

BUILT = "select to_regclass('marts.usage_hourly') is not null"
BEHIND = "select (select count(*) from raw.usage_events) - (select coalesce(sum(usage_rows), 0) from marts.usage_hourly)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, stack: dict[str, str]) -> Iterator[Page]:
    """A page of a viewer who has signed in."""
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page = context.new_page()
    page.goto(stack["INFERHOUSE_PORTAL_URL"])
    page.get_by_label("E-mail").fill(stack["INFERHOUSE_PORTAL_EMAIL"])
    page.get_by_role("textbox", name="Password").fill(stack["INFERHOUSE_PORTAL_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=30_000)
    yield page
    context.close()


def _metric(page: Page, label: str) -> int:
    metric = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True))
    value = metric.get_by_test_id("stMetricValue").inner_text(timeout=30_000)
    return int(re.sub(r"[^0-9]", "", value))


def _sums(stack: dict[str, str]) -> tuple[int, int, int]:
    with psycopg.connect(stack["INFERHOUSE_SQL_URL"]) as conn:
        row = conn.execute(SUMS).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _settled(stack: dict[str, str]) -> tuple[int, int, int]:
    """The sums, once the requests of the start are in them."""
    until = time.monotonic() + 180  # a start builds every mart for the first time
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"], autocommit=True) as conn:
        while conn.execute(BUILT).fetchone() != (True,) or conn.execute(BEHIND).fetchone() != (0,):
            assert time.monotonic() < until, "rows of the start are in no mart"
            time.sleep(0.5)
    return _sums(stack)


def test_one_request_is_one_row_is_one_mart_is_one_number_on_the_page(page: Page, stack: dict[str, str]) -> None:
    before = _settled(stack)
    with openai.OpenAI(base_url=stack["INFERHOUSE_BASE_URL"], api_key=stack["INFERHOUSE_API_KEY"]) as sdk:
        models = [model.id for model in sdk.models.list()]
        model = next((name for name in models if name != "simulated"), "simulated")
        raw = sdk.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "Name a colour."}], max_tokens=12
        )
        answer = raw.parse()
    answered_at = time.monotonic()
    assert answer.usage is not None
    request_id = raw.headers["x-request-id"]
    expected = (before[0] + 1, before[1] + answer.usage.prompt_tokens, before[2] + answer.usage.completion_tokens)
    while _sums(stack) != expected:
        assert time.monotonic() - answered_at < VISIBLE_S_MAX, (_sums(stack), expected)
        time.sleep(0.5)
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"]) as conn:
        rows = conn.execute(
            "select input_tokens, output_tokens, token_source::text, status::text from raw.usage_events where request_id = %s",
            [request_id],
        ).fetchall()
    assert rows == [(answer.usage.prompt_tokens, answer.usage.completion_tokens, "engine", "completed")]
    # The page refreshes itself: nobody touches it.
    shown = (0, 0, 0)
    while shown != expected:
        shown = (_metric(page, "Requests"), _metric(page, "Input tokens"), _metric(page, "Output tokens"))
        assert time.monotonic() - answered_at < VISIBLE_S_MAX + 10, (shown, expected)
        time.sleep(0.5)
    page.get_by_role("link", name="Requests").click()
    page.get_by_label("Why? Enter a request id").fill(request_id)
    page.keyboard.press("Enter")
    tokens = f"{answer.usage.prompt_tokens:,} in"
    expect(page.get_by_text(tokens).first).to_be_visible(timeout=30_000)


def test_every_page_opens_without_an_error_or_a_call_to_the_outside(page: Page, stack: dict[str, str]) -> None:
    outside: list[str] = []
    page.on("request", lambda request: None if _is_ours(request.url, stack) else outside.append(request.url))
    for name in ("Usage", "Spend", "Requests", "Invoice", "Connect", "Platform", "Overview"):
        page.get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=name).first).to_be_visible(timeout=30_000)
        page.wait_for_timeout(500)
        assert page.get_by_test_id("stException").count() == 0, name
        assert page.get_by_test_id("stAlertContentError").count() == 0, name
    assert outside == []


def test_the_file_and_the_pages_say_what_sql_says(page: Page, stack: dict[str, str]) -> None:
    """Run after the tests that made requests; the sums are read anew until they agree, because rows may still arrive."""
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", name="Usage").first).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=30_000)  # a button that is drawn anew loses its click
    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("button", name="Download CSV").click()
    lines = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    in_file = tuple(sum(int(line[name]) for line in lines) for name in ("requests", "input_tokens", "output_tokens"))
    assert in_file == _sums(stack)
    page.get_by_role("link", name="Spend").click()
    spent = page.get_by_test_id("stMetric").filter(has=page.get_by_text("Spend", exact=True)).get_by_test_id("stMetricValue")
    cost = Fraction(spent.inner_text(timeout=30_000).removeprefix("$").replace(",", "")) * 10**12
    assert cost == sum(int(line["cost_picousd"]) for line in lines) > 0


def test_a_reload_keeps_the_viewer_and_signing_out_does_not(page: Page) -> None:
    page.wait_for_timeout(1000)
    page.reload()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=30_000)
    page.wait_for_timeout(1000)
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=30_000)


def test_a_wrong_password_is_refused_in_words(browser: Browser, stack: dict[str, str]) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(stack["INFERHOUSE_PORTAL_URL"])
        page.get_by_label("E-mail").fill(stack["INFERHOUSE_PORTAL_EMAIL"])
        page.get_by_role("textbox", name="Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Wrong e-mail address or password.")).to_be_visible(timeout=30_000)


def _is_ours(url: str, stack: dict[str, str]) -> bool:
    return url.startswith((stack["INFERHOUSE_PORTAL_URL"], "data:", "blob:")) or "127.0.0.1" in url

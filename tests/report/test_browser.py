"""The page in a real browser: Chromium, driven by Playwright; skipped where either is missing."""

import contextlib
import shutil

import pytest

from gptq_fuzz.report.facts import of_documents
from gptq_fuzz.report.page import page
from tests.documents import DEVICE, EVIL, PICTURE, batch, finding, gone

playwright = pytest.importorskip("playwright.sync_api", reason="no_playwright")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with contextlib.ExitStack() as undo:
        driver = undo.enter_context(playwright.sync_playwright())
        installed = next(filter(None, map(shutil.which, NAMES)), None)
        try:
            chromium = driver.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error as problem:
            pytest.skip(f"no_browser: {str(problem).splitlines()[0]}")
        undo.callback(chromium.close)
        yield chromium


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of some documents; at the end of a test nothing may stand on the console."""
    said, contexts = [], []

    def open_page(documents, **options):
        path = tmp_path / "page.html"
        path.write_text(page(of_documents(documents), "a title", "2026-11-20T00:00:00"))
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: said.append(request.url))
        shown.goto(path.as_uri())
        said.remove(path.as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not text.startswith("data:")] == []


def findings(count):
    return [
        finding(
            f"m{number + 1}-n4-k4-b8-gall",
            name="mine.py:f" if number % 2 else "other.py:g",
            device=DEVICE | {"device": "CPU"} if number % 3 else DEVICE,
            pictures=[PICTURE] * (number < 3),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 3, 3000])
def test_every_command_can_be_copied(opened, count):
    shown = opened([batch(), *findings(count)])
    buttons = shown.locator("button.copy")
    assert buttons.count() == count
    for place in dict.fromkeys((*range(min(count, 3)), count - 1)) if count else ():
        buttons.nth(place).click()
        wanted = shown.locator(".command code").nth(place).text_content()
        shown.wait_for_function(
            "text => navigator.clipboard.readText().then(t => t === text)", arg=wanted
        )
        assert wanted.startswith("gptq-fuzz --kernel ")


@pytest.mark.parametrize("count", [3, 3000])
def test_filters_leave_what_matches(opened, count):
    shown = opened([batch(), *findings(count), gone(name="other.py:g")])

    def left():
        return shown.locator(".finding:visible").count()

    assert left() == count
    shown.select_option("[data-filter=kernel]", "mine.py:f")
    assert left() == count // 2
    shown.select_option("[data-filter=kernel]", "")
    shown.select_option("[data-filter=device]", "CPU")
    assert left() == count - -(-count // 3)
    shown.select_option("[data-filter=device]", "")
    shown.select_option("[data-filter=state]", "gone")
    assert left() == 1
    assert shown.locator("#shown").text_content() == f"1 of {count}"
    shown.select_option("[data-filter=state]", "")
    shown.fill("[data-filter=text]", "M2-N4")
    assert left() == 1


def test_text_of_kernels_runs_nothing(opened):
    evil = finding(name=EVIL, device=DEVICE | {"device": EVIL}, first=EVIL)
    evil["verdict"] |= {"message": EVIL, "explained": EVIL}
    shown = opened([evil, batch(name=EVIL, skips={EVIL: 1})])
    assert shown.evaluate("typeof evil") == "undefined"
    shown.select_option("[data-filter=kernel]", EVIL)
    assert shown.locator(".finding:visible").count() == 1


def test_the_page_fits_a_phone_and_is_dark_where_that_is_asked_for(opened):
    grounds = set()
    for scheme in ("light", "dark"):
        shown = opened([batch(), *findings(3)], viewport=PHONE, color_scheme=scheme)
        assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        grounds.add(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2

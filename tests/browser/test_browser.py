"""A report in Chromium, from disk: nothing is fetched or fails, and it answers mouse, keyboard, printer, phone."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from conftest import write_package, write_scene
from reported import CHIP, result

from geoscan import report
from geoscan.scanning.result import found_in
from geoscan.states import Status

pytestmark = pytest.mark.large

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright to run this")

CHROMIUM = Path(os.environ.get("GEOSCAN_CHROMIUM", "/usr/bin/chromium"))
"""Debian's; apt-get install chromium."""

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
HOSTILE = "<script>alert(1)</script>.tif"
OTHER_LABELS = dict.fromkeys(("primary", "agriculture", "road", "water", "cultivation", "habitation"), 0.5)
MINES = {(0, 0): 0.7, (1, 3): 0.95, (3, 1): 0.8, (3, 2): 0.6, (3, 6): 0.85}


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is absent; apt-get install chromium to run this")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A report of two scenes, the first of which has a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    package = write_package(folder / "models" / "<img src=x onerror=alert(3)>", chip=CHIP)
    pixels = np.random.default_rng(1).integers(40, 90, (3, 5 * CHIP, 7 * CHIP))
    place = Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000)
    (folder / HOSTILE).parent.mkdir(exist_ok=True)
    first = write_scene(folder / HOSTILE, pixels=pixels, transform=place)
    second = write_scene(folder / "other.tif", pixels=pixels, transform=place @ Affine.translation(2000, 0))
    results = [result(first, package, MINES, name=HOSTILE), result(second, package, {(2, 2): 0.9}, obscured=False)]
    written = folder / "report.html"
    since = {"status": Status.KNOWN, "gained_ha": 1234.5, "first_seen": "2026-07-02"}
    found = [replace(one, other_labels=OTHER_LABELS, probability=1e-5, **since) for one in found_in(results)]
    report.write(written, results, found, command=f"geoscan {HOSTILE}", missing={HOSTILE: HOSTILE})
    return written


@pytest.fixture
def opened(browser, path):
    """Opens the report as some device does; at the end nothing was fetched, nothing failed, and nothing popped up."""
    contexts, wrong = [], []

    def open_as(device, **more):
        context = browser.new_context(**device, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda one: wrong.append(one.url) if not one.url.startswith((path.as_uri(), "data:")) else 0)
        page.on("console", lambda one: wrong.append(one.text))
        page.on("pageerror", lambda one: wrong.append(str(one)))
        page.on("dialog", lambda one: (wrong.append(one.message), one.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert wrong == []


def first_map(page):
    box = page.locator(".map").first
    box.scroll_into_view_if_needed()
    box.locator("path.outline").first.wait_for(state="attached")
    return box


def width_of(box):
    """Of the scene on the screen, in pixels."""
    return box.locator("img.above").bounding_box()["width"]


def test_a_hostile_name_is_shown_and_does_nothing(opened):
    page = opened(DESKTOP)
    assert page.locator("h1").inner_text() == "2 scenes"
    assert HOSTILE in page.locator("#maps h3").first.inner_text()
    assert page.locator("script").count() == 3
    assert page.locator("img[src=x]").count() == 0
    page.locator("details.card summary").click()
    assert "<img src=x onerror=alert(3)>" in page.locator("details.card").inner_text()


def test_the_map_shows_scene_sights_and_detections(opened):
    box = first_map(opened(DESKTOP))
    assert box.locator("path.outline").count() == 4
    assert box.locator("img.above").evaluate("image => image.complete && image.naturalWidth") == 7 * CHIP
    assert box.locator("img.sights").count() == 1
    assert sorted(box.locator(".leaflet-tooltip.number").all_inner_texts()) == ["1", "3", "4", "5"]
    assert re.fullmatch(r"\d+ k?m", box.locator(".leaflet-control-scale-line").inner_text())
    box.get_by_label("detections").uncheck()
    assert box.locator("path.outline").count() == 0


def test_the_scale_is_that_of_the_ground(opened):
    box = first_map(opened(DESKTOP))
    metres = int(box.locator(".leaflet-control-scale-line").inner_text().split()[0])
    line = box.locator(".leaflet-control-scale-line").evaluate("line => line.offsetWidth")
    wide = box.locator("img.above").bounding_box()["width"]
    assert metres / line == pytest.approx(7 * CHIP * 3.7 / wide, rel=0.05)


def test_buttons_wheel_and_arrows_move_the_map(opened):
    page = opened(DESKTOP)
    box = first_map(page)
    before = width_of(box)
    box.get_by_label("Zoom in").click()
    page.wait_for_timeout(400)
    assert width_of(box) > 1.4 * before
    box.get_by_label("Zoom out").click()
    page.wait_for_timeout(400)
    assert width_of(box) == pytest.approx(before, rel=0.05)
    box.locator(".leaflet-control-scale").click()
    box.hover()
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(800)
    assert width_of(box) > 1.2 * before


def test_a_click_shows_the_numbers_of_a_detection(opened):
    page = opened(DESKTOP)
    box = first_map(page)
    box.locator("path.outline").first.click()
    popup = box.locator(".leaflet-popup")
    popup.wait_for()
    text = popup.inner_text()
    assert text.startswith("Detection 1")
    assert "0.95" in text
    assert "hectares" in text
    assert popup.locator("img").count() == 2
    page.keyboard.press("Escape")
    popup.wait_for(state="detached")


def test_a_click_elsewhere_says_how_the_place_was_seen(opened):
    page = opened(DESKTOP)
    box = first_map(page)
    seen = {}
    for col, words in enumerate(["seen through haze", "under cloud", "no data", "could not be read", "not understood"]):
        spot = box.locator("img.above").bounding_box()
        page.mouse.click(spot["x"] + spot["width"] * (col + 0.5) / 7, spot["y"] + spot["height"] * 0.83)
        page.wait_for_timeout(400)
        seen[words] = box.locator(".leaflet-popup").last.inner_text(timeout=3000).lower()
        page.keyboard.press("Escape")
        page.wait_for_timeout(400)
    assert all(words in text for words, text in seen.items()), seen


def test_the_keyboard_reaches_every_detection(opened):
    page = opened(DESKTOP, reduced_motion="reduce")
    box = first_map(page)
    before = width_of(box)
    box.focus()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert reached == [f"Detection {n}: zoom and show its numbers" for n in (1, 3, 4, 5)]
    assert page.evaluate("getComputedStyle(document.activeElement).stroke") == "rgb(255, 255, 255)", "focus is seen"
    page.keyboard.press("Enter")
    popup = box.locator(".leaflet-popup")
    popup.wait_for()
    assert popup.inner_text().startswith("Detection 5")
    assert width_of(box) > 1.5 * before
    page.keyboard.press("Escape")
    popup.wait_for(state="detached")


def test_a_row_of_the_table_leads_to_the_map_of_its_scene(opened):
    page = opened(DESKTOP, reduced_motion="reduce")
    page.locator("tr[data-row='2'] a.show").focus()
    page.keyboard.press("Enter")
    popup = page.locator(".map[data-map='1'] .leaflet-popup")
    popup.wait_for()
    assert popup.inner_text().startswith("Detection 2")
    assert page.evaluate("document.activeElement.classList.contains('outline')")


def test_it_prints_with_all_sections_and_the_map_as_a_picture(opened, tmp_path):
    page = opened(DESKTOP)
    first_map(page)
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1000})  # what the margins leave of A4, at 96 px an inch
    assert page.locator("th", has_text="hectares gained").is_visible()
    wide = "[...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > 681)"
    assert page.evaluate(f"{wide}.map(one => one.outerHTML.slice(0, 80))") == []
    assert page.locator(".still").first.is_visible()
    assert not page.locator(".map").first.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.card h4").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.locator("details.card h4").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_the_dark(opened, scheme):
    page = opened(PHONE, color_scheme=scheme)
    first_map(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    paper, ink = (
        [int(level) for level in re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{what}"))[:3]]
        for what in ("backgroundColor", "color")
    )
    assert (sum(paper) > sum(ink)) is (scheme == "light")
    assert abs(sum(paper) - sum(ink)) > 450, "contrast"


def test_the_numbers_of_a_card_lie_apart_at_any_width(opened):
    page = opened(DESKTOP)
    apart = """rows => rows.every(row => {
      const [name, value, all] = [...row.children, row].map(one => one.getBoundingClientRect());
      return (name.right <= value.left || name.bottom <= value.top) && value.right <= all.right + 1;
    })"""
    for width in range(320, 1300, 20):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator(".cards dl div").evaluate_all(apart), width


def test_text_tables_and_pictures_need_no_script(opened):
    page = opened(DESKTOP, java_script_enabled=False)
    assert page.locator(".still").first.is_visible()
    assert page.locator(".still image.above").first.get_attribute("href").startswith("data:image/webp")
    assert page.locator(".still path.outline").count() == 5
    assert page.locator("tr[data-row]").count() == 5
    assert page.locator(".cards img").count() == 10
    assert not page.locator(".map").first.is_visible()

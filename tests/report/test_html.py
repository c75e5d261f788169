"""A report as HTML: hostile names stay text, nothing leads outside, and it is well formed for people and machines."""

import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from reported import CHIP, FAILURE, result

from geoscan.model.figures import DetectionFigures, FalseAlarms, Figures, FlaggedFigures
from geoscan.report.html import _percent, render
from geoscan.report.page import page_of
from geoscan.scanning.result import found_in
from geoscan.states import Review

SHAPE = (5 * CHIP, 7 * CHIP)
HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}\u202etif.exe'
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Tree(HTMLParser):
    """Collects elements and texts, and notes what is not closed as it was opened."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.faults, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append((tag, self.getpos()))

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def text(self, *, without=("script", "style")):
        return " ".join(" ".join(data for tag, data in self.texts if tag not in without).split())


@pytest.fixture
def scanned(make_scene, make_package):
    pixels = np.random.default_rng(1).integers(40, 90, (3, *SHAPE))
    return result(
        make_scene(pixels=pixels), make_package(chip=CHIP), {(1, 1): 0.9, (1, 2): 0.8, (3, 5): 0.7}, name=HOSTILE
    )


@pytest.fixture
def rendered(scanned):
    found = found_in([scanned])
    return render(page_of([scanned], found, command=f"geoscan {HOSTILE}", missing={HOSTILE: HOSTILE}, left_out=2))


def test_it_is_well_formed(rendered):
    tree = Tree(rendered)
    assert (tree.faults, tree.open) == ([], [])
    ids = Counter(attrs["id"] for _, attrs in tree.elements if "id" in attrs)
    assert set(ids.values()) == {1}
    for attrs in tree.of("a"):
        assert attrs["href"].removeprefix("#") in ids
    for _, attrs in tree.elements:
        assert attrs.get("aria-labelledby", "summary") in ids


def test_hostile_names_are_text(rendered):
    tree = Tree(rendered)
    assert [attrs.get("type") for attrs in tree.of("script")] == ["application/json", None, None]
    assert not [attrs for _, attrs in tree.elements if any(name.startswith("on") or name == "style" for name in attrs)]
    assert "x" not in [attrs["src"] for attrs in tree.of("img")]
    shown = HOSTILE.replace("\u202e", "\\u202e")
    assert tree.text().count(shown) >= 8
    assert "\u202e" not in rendered
    assert "49" not in tree.text().split(shown)[0]
    assert FAILURE in tree.text()


def test_nothing_leads_outside(rendered):
    tree = Tree(rendered)
    addresses = [attrs[name] for _, attrs in tree.elements for name in ("src", "href") if name in attrs]
    assert addresses
    assert all(one.startswith(("#", "data:")) for one in addresses)
    for style in (data for tag, data in tree.texts if tag == "style"):
        assert "url(" not in style
        assert "@import" not in style
    assert "sourceMappingURL" not in rendered


def test_its_policy_allows_the_scripts_that_are_there_and_no_other(rendered):
    tree = Tree(rendered)
    (policy,) = (one["content"] for one in tree.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("img-src") == "data:"
    for tag in ("style", "script"):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", rendered, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert rules.pop(f"{tag}-src").split() == [f"'sha256-{one}'" for one in digests]
        assert len(digests) == 2
    assert rules == {"base-uri": "'none'", "form-action": "'none'"}


def test_the_map_is_given_the_detections(rendered, scanned):
    (data,) = (data for tag, data in Tree(rendered).texts if tag == "script" and data.startswith("{"))
    (scene,) = json.loads(data)["scenes"]
    assert [one["number"] for one in scene["detections"]] == [1, 2]
    assert sorted(scene["detections"][0]["rings"][0])[0] == [CHIP, CHIP]
    assert len(json.loads(data)["sights"]) == 6


def test_it_can_be_read_by_those_who_do_not_see(rendered):
    tree = Tree(rendered)
    assert tree.of("html") == [{"lang": "en"}]
    assert len(tree.of("main")) == len(tree.of("h1")) == 1
    assert len(tree.of("caption")) == len(re.findall(r"<table>\s*<caption>", rendered))
    assert all(attrs["alt"] for attrs in tree.of("img"))
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("aria-label") for attrs in tree.of("svg"))


def test_it_says_what_was_found_seen_and_meant(rendered, scanned):
    text = Tree(rendered).text()
    summary = scanned.summary
    assert "found 2 places that look like artisanal gold mining: 4.2 hectares." in text
    assert f"saw {100 * summary.observed_fraction:.1f} % of the ground" in text
    assert "It is no proof of a mine." in text
    assert "2 rasters could not be scanned, and were left out" in text
    for words in ("under cloud", "no data", "could not be read", "not understood", "seen through haze"):
        assert f"{words} 2.9 % 1" in text
    assert "0.500 0.400 0.600" in text, "the thresholds"
    assert "Card of the model fake" in text
    assert "3.2" in text


def test_a_scene_without_detections_says_that_this_proves_nothing(make_scene, make_package):
    none = result(make_scene(SHAPE), make_package(chip=CHIP), {}, obscured=False)
    text = Tree(render(page_of([none], []))).text()
    assert "found no place that looks like artisanal gold mining." in text
    assert "There are none. That is no proof that there is no mine." in text
    assert "100 % observed" in text
    assert "nothing is known" not in text


def test_it_says_how_often_the_model_is_right(scanned):
    alarms = FalseAlarms(1000, 50.0, 2, 40.0, (11.0, 145.0))
    figures = Figures(
        detection={
            "balanced": DetectionFigures(
                90, FlaggedFigures(0.6, 0.52, None, alarms, None), FlaggedFigures(0.5, 0.66, None, alarms, None)
            )
        }
    )
    card = replace(scanned.plan.package.card, figures=figures)
    measured = replace(scanned, plan=replace(scanned.plan, package=replace(scanned.plan.package, card=card)))
    text = Tree(render(page_of([measured], found_in([measured])))).text()
    assert "found 52.0 % of the mines if each chip stands alone, 66.0 % where neighbours confirm each other." in text
    assert "Per 1,000 km² it gave 40 (11 to 145)" in text


def test_what_is_new_is_told_where_an_earlier_layer_was_given(scanned):
    page = page_of([scanned], found_in([scanned]))
    assert 'id="changes"' not in render(page)
    new = {"status": "grown", "gained_ha": 1.25, "first_seen": "2023-08-01"}
    rows = [replace(row, facts={**row.facts, **new}) for row in page.rows]
    gone = replace(rows[0], number=0, maps=(), close_up=None, facts={**rows[0].facts, "status": "gone"})
    text = Tree(render(replace(page, rows=rows, absent=[gone], statuses={"grown": 2, "gone": 1}))).text()
    assert "Since the earlier layer: 1 gone; 2 grown. Gone means" in " ".join(text.split())
    assert "grown 1.2 2023-08-01" in text


def test_what_people_said_is_told(scanned):
    one, other = found_in([scanned])
    assert ">review<" not in render(page_of([scanned], [one, other]))
    text = Tree(render(page_of([scanned], [replace(one, review=Review.NOT_MINE), other]))).text()
    assert "4.2 hectares. A person has called 1 of them no mine (2.8 ha)." in text
    assert (text.count("review no mine"), text.count("review not looked at")) == (1, 0), "close up"
    assert re.search(r"°.* no mine .*°.* not looked at ", text.split("The likeliest first")[-1])


def test_of_scenes_that_overlap_no_share_of_the_ground_is_told(scanned):
    text = Tree(render(page_of([scanned, scanned], found_in([scanned])))).text()
    summary = scanned.summary
    assert "km² of ground, some of it more than once." in text
    assert f"saw {100 * summary.observed_fraction:.1f} % of what they show, and found" in text
    assert f"{100 * summary.observed_fraction:.1f} % of the scenes observed" in text
    assert "Of ground that none of the scenes shows well , nothing is known." in text
    assert "that were not observed" not in text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.99996, "more than 99.9 %"),
        (0.00001, "less than 0.1 %"),
        (0.4567, "45.7 %"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_a_share_is_not_rounded_to_all_or_nothing(share, text):
    assert _percent(share) == text

"""Both cards in a real browser, on a desktop and a phone, in the light and in the dark: nothing runs, overflows or is missing.

Screenshots of every view lie in the test's tmp_path, to be looked at by a person.
"""

import json
import shutil

import pytest

from model_card import build
from tests import browser as chromium
from tests.made_run import make_run
from tests.model_card.hub_page import write_pages
from tests.model_card.test_card_text import TEXTS

pytestmark = pytest.mark.skipif(not chromium.find(), reason="no Chromium on PATH (Debian: apt-get install chromium)")
CARDS = ("README.md", "README_zh.md")
WIDE = """[...document.querySelectorAll('main *')].filter(e => !e.closest('table, pre')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
TAGS = """(() => { const found = {}; for (const e of document.querySelectorAll('*')) if (e.tagName !== 'CODE')
  found[e.tagName] = (found[e.tagName] || 0) + 1; return found })()"""
# The WCAG contrast of the text of each element with the first background behind it, the least of all.
CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const behind = e => { const c = getComputedStyle(e).backgroundColor;
    return c === 'rgba(0, 0, 0, 0)' && e.parentElement ? behind(e.parentElement) : c };
  return Math.min(...[...document.querySelectorAll('main *')].filter(e => e.innerText).map(e => {
    const pair = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05) })) })()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


def pages_of(run):
    build.main([str(run), "--repo-id", "acme/smollm2-demo"])
    return write_pages(run / "release")


@pytest.fixture(scope="module")
def pages(run):
    return pages_of(run)


@pytest.fixture(scope="module")
def hostile(run, tmp_path_factory):
    """The cards of the same run after a model, a suite and a data set have put the corpus into their texts."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("release"))
    texts = iter(text for text in TEXTS * 9 if text.strip() and not any("\ud800" <= c <= "\udfff" for c in text))
    for side in ("base", "tuned"):
        path = folder / "eval" / side / "generations.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row |= {"prompt": next(texts), "response": next(texts), "finish_reason": next(texts)}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = json.loads((folder / "data_report.json").read_text())
    for key in ("dropped", "cut", "topics", "faults"):
        report[key] = {next(texts): count for count in report[key].values()}
    (folder / "data_report.json").write_text(json.dumps(report))
    comparison = json.loads((folder / "eval" / "comparison.json").read_text())
    for row in comparison["metrics"]:
        if row.get("reason"):
            row["reason"] = " ".join(next(texts) for _ in range(40))
    (folder / "eval" / "comparison.json").write_text(json.dumps(comparison))
    return pages_of(folder)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("card", CARDS)
def test_a_card_fits_its_page_and_can_be_read(card, width, theme, browser, pages, tmp_path):
    browser.size(width, 900, mobile=width < 500)
    browser.theme(theme)
    browser.open(pages[card])
    browser.picture(tmp_path / f"{card}-{width}-{theme}.png", whole=True)
    assert browser.complaints() == []
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.run(WIDE) == []
    assert browser.run("document.querySelectorAll('h1').length") == 1
    assert browser.run(CONTRAST) >= 4.5


@pytest.mark.parametrize("card", CARDS)
def test_every_figure_loads_and_says_what_it_shows(card, browser, pages):
    browser.open(pages[card])
    images = browser.run(
        "[...document.images].map(i => [i.getAttribute('src'), i.complete && i.naturalWidth > 0, i.alt])"
    )
    for source, loaded, alt in images:
        assert loaded and alt, source


@pytest.mark.parametrize(("card", "other"), [CARDS, CARDS[::-1]])
def test_the_link_of_the_other_language_leads_there(card, other, browser, pages):
    browser.size(1280)
    browser.open(pages[card])
    browser.click(f"a[href='{pages[other].name}']")
    browser.wait(f"location.href.endsWith('/{pages[other].name}') && document.readyState === 'complete'")
    assert browser.run("document.documentElement.lang") == ("zh" if other == "README_zh.md" else "en")


@pytest.mark.parametrize("card", CARDS)
def test_hostile_texts_add_no_element_run_nothing_and_fit(card, browser, pages, hostile, tmp_path):
    for width in (1280, 360):
        browser.size(width, 900, mobile=width < 500)
        browser.open(pages[card])
        tags = browser.run(TAGS)
        browser.open(hostile[card])
        browser.picture(tmp_path / f"{card}-{width}.png", whole=True)
        assert browser.complaints() == []
        assert browser.run(TAGS) == tags
        assert browser.run("document.title") == card.removesuffix(".md")
        assert browser.run(WIDE) == []
        assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

"""The page in a real browser: nothing hostile runs, filters work, it fits a phone, both themes can be read.

Screenshots of every test lie in its tmp_path, to be looked at by a person.
"""

import time
from urllib.parse import quote

import pytest

from eval.report.page import page
from eval.visible_text import visible
from tests import browser as chromium
from tests.eval.hostile import HOSTILE, TUNED, answer, comparison, store, store_hostile

pytestmark = pytest.mark.skipif(not chromium.find(), reason="no Chromium on PATH (Debian: apt-get install chromium)")
SHOWN = "[...document.querySelectorAll('article')].filter(item => !item.hidden).map(item => item.querySelector('h3 a').textContent)"
LETTERS = "abcdefghij"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def usual(browser):
    """A desktop in the light with scripts, before each test."""
    browser.size(1280, 1000)
    browser.theme("light")
    browser.scripts(True)


def write(folder, found):
    path = folder / "report.html"
    path.write_text(page(folder, found), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return write(folder, store_hostile(folder))


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten items in two suites: a fails and then passes, b passes and then fails, c is cut, d could not be judged, …"""
    folder = tmp_path_factory.mktemp("ten")
    rows = [
        answer(key, f"answer {key}", suite="maths" if key < "e" else "seed", category=key.upper(), language="zh" if key < "c" else "en")
        for key in LETTERS
    ]  # fmt: skip
    base, tuned = [dict(row) for row in rows], [dict(row) for row in rows]
    base[0] |= {"score": 0.0}
    tuned[1] |= {"score": 0.0}
    tuned[2] |= {"finish_reason": "length"}
    base[3] |= {"score": None, "reason": "no single NUMBER"}
    tuned[9] |= {"response": "不同的回答，含“引号” & 符号"}
    store(folder, base=base, tuned=tuned)
    found = comparison()
    found["metrics"].append({**found["metrics"][0], "suite": "maths"})
    return write(folder, found)


def choose(browser, name, value):
    """As a user does: the value of a select changes and the page is told."""
    browser.run(
        f"(() => {{ const field = document.querySelector('[name={name}]'); field.value = {value!r};"
        " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_nothing_hostile_runs_loads_or_is_complained_of(browser, hostile, tmp_path):
    browser.open(hostile)
    assert browser.complaints() == []
    assert browser.run("document.title").startswith("Evaluation: ")
    assert browser.run("document.querySelectorAll('h1').length") == 1
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.run("document.querySelectorAll('article').length") == len(HOSTILE)
    browser.picture(tmp_path / "hostile.png")


def test_the_browser_shows_every_answer_letter_for_letter(browser, hostile):
    browser.open(hostile)
    texts = [visible(side) for text in HOSTILE.values() if text.strip() for side in (text, text[:TUNED])]
    assert browser.run("[...document.querySelectorAll('.answer')].map(answer => answer.textContent)") == texts


def test_a_policy_that_is_broken_would_be_noticed(browser, hostile, tmp_path):
    """The check above is alive: a script that slipped in does not run, and the console says so."""
    path = tmp_path / "broken.html"
    html = hostile.read_text(encoding="utf-8")
    path.write_text(html.replace("<main>", "<main><script>document.title='owned'</script>"), encoding="utf-8")
    browser.open(path)
    assert any("Content Security Policy" in problem for problem in browser.complaints())
    assert browser.run("document.title") != "owned"


def test_filters_narrow_and_counts_follow(browser, ten):
    browser.open(ten)
    assert browser.run(SHOWN) == list(LETTERS) and browser.run("count.textContent") == "10 of 10 items"
    expected = [
        ("suite", "maths", "abcd"), ("base", "pass", "bc"), ("tuned", "fail", "b"), ("tuned", "", "bc"), ("cut", None, "c"),
    ]  # fmt: skip
    for name, value, shown in expected:
        if value is None:
            browser.click(f"[name={name}]")
        else:
            choose(browser, name, value)
        browser.wait(f"document.getElementById('count').textContent === '{len(shown)} of 10 items'")
        assert browser.run(SHOWN) == list(shown)
    assert browser.run("document.querySelector('[name=language] option[value=en]').textContent") == "English (1)"
    assert browser.run("document.querySelector('[name=language] option[value=zh]').hidden")
    browser.click("[type=reset]")
    browser.wait("document.getElementById('count').textContent === '10 of 10 items'")
    assert browser.run("location.hash") in ("", "#") and browser.complaints() == []


@pytest.mark.parametrize(
    ("fragment", "shown"),
    [
        ("change=changed", "ab"), ("change=gained", "a"), ("change=lost", "b"), ("cut=1", "c"), ("base=unscored", "d"),
        ("q=single%20number", "d"), ("q=" + quote("“引号” &"), "j"), ("q=ANSWER+F", "f"), ("category=G&suite=seed", "g"),
        ("suite=maths&language=en", "cd"), ("q=nobody+says+this", ""), ("suite=%3Cscript%3E&q=answer+b", "b"),
        ("__proto__=1&constructor=x", LETTERS),
    ],
)  # fmt: skip
def test_an_address_holds_a_filter(browser, ten, fragment, shown):
    browser.open(ten, "#" + fragment)
    assert browser.run(SHOWN) == list(shown)
    assert browser.run("document.getElementById('nothing').hidden") == bool(shown)
    assert browser.complaints() == []


def test_changed_is_also_what_passes_more_or_less_often(browser, tmp_path):
    """Two samples each: a passes more often, b less, c as often."""
    passes = {"base": {"a": (0, 0), "b": (1, 1), "c": (1, 0)}, "tuned": {"a": (1, 0), "b": (1, 0), "c": (0, 1)}}
    store(tmp_path, **{
        side: [answer(key, f"answer {key}", score, sample=n) for key, scores in found.items() for n, score in enumerate(scores)]
        for side, found in passes.items()
    })  # fmt: skip
    path = write(tmp_path, comparison())
    for fragment, shown in (("changed", "ab"), ("more", "a"), ("less", "b"), ("same", "c")):
        browser.open(path, "#change=" + fragment)
        assert browser.run(SHOWN) == list(shown)
    browser.picture(tmp_path / "samples.png", whole=True)


def test_typing_searches_and_the_address_keeps_it(browser, ten):
    browser.open(ten)
    browser.click("[name=q]")
    browser.send("Input.insertText", text="answer h")
    browser.wait("location.hash === '#q=answer+h'")
    assert browser.run(SHOWN) == ["h"]
    browser.open(ten, browser.run("location.hash"))
    assert browser.run(SHOWN) == ["h"] and browser.run("document.querySelector('[name=q]').value") == "answer h"


def test_counts_link_to_their_items_and_headings_are_no_filters(browser, ten):
    browser.open(ten)
    browser.click(".legend a[href*='change=lost']")
    browser.wait("document.getElementById('count').textContent === '1 of 10 items'")
    assert browser.run(SHOWN) == ["b"]
    browser.click(".verdicts th a")
    browser.wait("location.hash.startsWith('#suite-')")
    assert browser.run(SHOWN) == ["b"]


def test_chinese_headings_and_back(browser, ten, tmp_path):
    browser.open(ten)
    english = browser.run("document.body.textContent")
    browser.click("#tongue")
    browser.wait("document.documentElement.lang === 'zh'")
    assert browser.run("document.querySelector('h2').textContent") == "比较了什么"
    assert browser.run("document.getElementById('count').textContent") == "10 / 10 题"
    assert browser.run("document.querySelector('[name=tuned] option[value=pass]').textContent") == "通过 (9)"
    assert "lang=zh" in browser.run("location.hash")
    assert browser.run(
        "[...document.querySelectorAll('.answer')].every(answer => /answer|回答/.test(answer.textContent))"
    )
    browser.picture(tmp_path / "zh.png", whole=True)
    browser.open(ten, "#lang=zh&suite=seed")
    assert browser.run("document.querySelector('h2').textContent") == "比较了什么" and len(browser.run(SHOWN)) == 6
    browser.click(".legend a[href*='change=lost']")
    browser.wait(
        "location.hash === '#suite=seed&change=lost&lang=zh' || location.hash === '#suite=maths&change=lost&lang=zh'"
    )
    browser.click("#tongue")
    browser.click("[type=reset]")
    browser.wait("document.getElementById('count').textContent === '10 of 10 items'")
    assert browser.run("document.body.textContent") == english


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("name", ["ten", "hostile"])
def test_a_phone_needs_no_sideways_scroll(browser, request, tmp_path, name, scripts):
    browser.size(360, 780, mobile=True)
    browser.scripts(scripts)
    browser.open(request.getfixturevalue(name))
    assert browser.run("innerWidth") == 360
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.run("document.querySelectorAll('article').forEach(item => item.style.contentVisibility = 'visible')")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    tops = browser.run("[...document.querySelector('.sides').children].map(side => side.getBoundingClientRect().top)")
    assert tops[0] < tops[1]  # stacked
    browser.picture(tmp_path / "phone.png")


def test_on_a_desk_the_answers_stand_side_by_side(browser, ten):
    browser.open(ten)
    tops = browser.run("[...document.querySelector('.sides').children].map(side => side.getBoundingClientRect().top)")
    assert tops[0] == tops[1]


def test_without_scripts_all_answers_can_be_read(browser, ten, tmp_path):
    browser.scripts(False)
    browser.open(ten)
    assert browser.run(SHOWN) == list(LETTERS)
    assert browser.run("getComputedStyle(document.getElementById('filters')).display") == "none"
    assert "need JavaScript" in browser.run("document.body.innerText")
    browser.picture(tmp_path / "plain.png")


CONTRAST = """(() => {
  const light = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const paper = element => { while (element) { const c = getComputedStyle(element).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return c; element = element.parentElement; } };
  return ['body', '.answer', '.verdict.pass', '.verdict.fail', '.verdict.unscored', '.mark.better', '.cut', 'small', 'dt', 'a', 'select']
    .map(name => { const e = document.querySelector(name); const [a, b] = [light(getComputedStyle(e).color), light(paper(e))];
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }); })()"""


def test_both_themes_can_be_read(browser, ten, tmp_path):
    """Contrast of text at least 4.5 to 1 (WCAG 2.2, 1.4.3, level AA)."""
    papers = []
    for theme in ("light", "dark"):
        browser.theme(theme)
        browser.open(ten)
        papers.append(browser.run("getComputedStyle(document.body).backgroundColor"))
        contrasts = browser.run(CONTRAST)
        assert min(contrasts) >= 4.5, (theme, contrasts)
        browser.picture(tmp_path / f"{theme}.png")
    assert papers[0] != papers[1]


def test_the_keyboard_reaches_the_filters(browser, ten):
    browser.open(ten)
    reached = set()
    for _ in range(60):
        browser.key("Tab")
        reached.add(
            browser.run("document.activeElement.name || document.activeElement.id || document.activeElement.type")
        )
        if browser.run("document.activeElement.name") == "cut":
            browser.key(" ")
            break
    assert {"tongue", "q", "suite", "tuned", "change", "cut"} <= reached
    browser.wait("document.getElementById('count').textContent === '1 of 10 items'")


def test_on_paper_all_is_open_and_no_filter_stands(browser, ten):
    browser.open(ten)
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.getElementById('filters')).display") == "none"
    assert browser.run("getComputedStyle(document.querySelector('article')).contentVisibility") == "visible"
    browser.send("Emulation.setEmulatedMedia", media="")


def test_a_thousand_items_do_not_lag(browser, tmp_path):
    """1000 items, 2 × 2000 characters each: a filter, a search over all of it and a repaint, each well under a second."""
    rows = [
        answer(f"item-{n}", f"回答 {n} 的内容 " * 200, float(n % 3 > 0), category=f"c{n % 20}") for n in range(1000)
    ]
    store(tmp_path, base=rows, tuned=rows)
    start = time.monotonic()
    path = write(tmp_path, comparison())
    written = time.monotonic() - start
    browser.open(path)
    took = browser.run(
        "(async () => { const times = []; const field = name => document.querySelector(`[name=${name}]`);"
        "for (const [name, value] of [['category', 'c7'], ['category', ''], ['q', '回答 77 的'], ['q', '']]) {"
        "  field(name).value = value; const start = performance.now();"
        "  field(name).dispatchEvent(new Event('input', {bubbles: true})); await new Promise(r => setTimeout(r, 125));"
        "  await new Promise(r => requestAnimationFrame(() => setTimeout(r))); times.push(performance.now() - start - 125); }"
        "return times; })()"
    )
    print(f"written in {written:.1f} s; filter, reset, search, reset in {[round(t) for t in took]} ms")
    assert max(took) < 1000 and written < 20, (took, written)
    assert len(browser.run(SHOWN)) == 1000

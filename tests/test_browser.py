"""The report in a real browser: the planted changes are in the picture, nothing leaves the file, nothing harms it."""

import json
import math
import re
import shutil

import pytest
from browser import difference, opened, share
from rollouts import CAP, HOSTILE, rollout_run

from benchmarks import planted_run
from diagnostics.report.html import write_report

BLUE, GREEN, RED = (0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)
STEPS = 48


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """(what is planted where, the report of that run, the report of the same run without the collapse)."""
    folder = tmp_path_factory.mktemp("planted")
    truth = planted_run.write(folder / "run", STEPS, groups=3)
    quiet = folder / "quiet"
    shutil.copytree(folder / "run", quiet)
    lines = [json.loads(line) for line in (quiet / "metrics.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        others = {name: lines[1][name] for name in line if name.startswith("format/share@")}
        line.update(others)
    (quiet / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return truth, write_report([folder / "run"], folder / "run.html"), write_report([quiet], folder / "quiet.html")


@pytest.fixture(scope="module")
def page(planted, chromium):
    with opened(chromium, planted[1].as_uri()) as shown:
        yield shown


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, chromium):
    folder = tmp_path_factory.mktemp("hostile")
    run = rollout_run(folder / "run", 3, hostile=True)
    with opened(chromium, write_report([run.path], folder / "report.html").as_uri()) as shown:
        yield shown


def plot_of(shown, view: str, number: int = 0) -> str:
    """The css path of a view's plot; drawn."""
    plots = shown.page.locator(f"#{view} div.plot")
    place = plots.nth(number)
    place.scroll_into_view_if_needed()
    return f'div.plot[data-figure="{place.get_attribute("data-figure")}"]'


def data(shown, plot: str) -> list[dict]:
    """The traces of a drawn plot: name, meta, x, y, base."""
    shown.page.wait_for_function("css => Boolean(document.querySelector(css)?.data)", arg=plot)
    return shown.page.locator(plot).evaluate(
        "plot => plot.calcdata.map(points => ({name: points[0].trace.name, meta: points[0].trace.meta, "
        "base: points[0].trace.base, x: [...points[0].trace.x], y: [...points[0].trace.y]}))"
    )


# --- what is planted is drawn ----------------------------------------------------------------------


def test_the_phase_changes_at_the_planted_step(planted, page):
    truth, plot = planted[0], plot_of(page, "phase_timeline")
    starts = {trace["meta"]["state"]: trace["base"][0] for trace in data(page, plot) if "state" in trace["meta"]}
    assert starts["planning"] == truth.phase and starts["consolidating"] < truth.phase
    picture = page.picture(plot)
    before, after = (picture.column(truth.phase + by) for by in (-6, 6))
    blue, green = before.mean(axis=0), after.mean(axis=0)
    assert blue[2] > blue[1] > blue[0] and green[1] > green[2] > green[0] - 5


def test_one_form_fills_the_river_from_the_planted_step_on(planted, page):
    truth, plot = planted[0], plot_of(page, "format_river")
    winner = next(trace for trace in data(page, plot) if trace["name"] == "boxed_latex")
    crossed = next(x for x, y in zip(winner["x"], winner["y"], strict=True) if y >= 0.9)
    assert abs(crossed - truth.collapse) <= 1
    picture, ink = page.picture(plot), winners_ink(page, plot)
    assert share(picture.column(4), ink, 30) < 0.35
    assert share(picture.column(truth.collapse + 4), ink, 30) > 0.85


def winners_ink(shown, plot: str) -> tuple[int, int, int]:
    """The colour of the form that takes over, on the page's ground."""
    colour = shown.page.locator(plot).evaluate("plot => plot.data.find(t => t.name === 'boxed_latex').fillcolor")
    *parts, opacity = map(float, re.findall(r"[\d.]+", colour))
    return tuple(round(opacity * part + (1 - opacity) * 250) for part in parts)


def test_the_collapse_is_what_tells_the_picture_from_one_without(planted, page, chromium):
    truth, plot = planted[0], plot_of(page, "format_river")
    steps = (4, 8, truth.collapse + 3, truth.collapse + 8)
    picture, ink = page.picture(plot), winners_ink(page, plot)
    widths = [share(picture.column(step), ink, 30) for step in steps]
    with opened(chromium, planted[2].as_uri()) as shown:
        other = plot_of(shown, "format_river")
        picture, ink = shown.picture(other), winners_ink(shown, other)
        without = [share(picture.column(step), ink, 30) for step in steps]
    gaps = [one - quiet for one, quiet in zip(widths, without, strict=True)]
    assert max(map(abs, gaps[:2])) < 0.1 and min(gaps[2:]) > 0.5, (widths, without)


def test_a_picture_is_the_same_when_it_is_drawn_again(planted, page, chromium):
    with opened(chromium, planted[1].as_uri()) as shown:
        one, other = page.picture(plot_of(page, "format_river")), shown.picture(plot_of(shown, "format_river"))
    assert difference(one.pixels, other.pixels) < 1


def test_the_wave_of_quarantine_swells_at_the_planted_step(planted, page):
    truth, plot = planted[0], plot_of(page, "curriculum_flow")
    aside = next(trace for trace in data(page, plot) if trace["name"] == "quarantined")
    jumps = [later - earlier for earlier, later in zip(aside["y"], aside["y"][1:], strict=False)]
    assert aside["x"][1 + jumps.index(max(jumps))] == truth.quarantine
    picture = page.picture(plot)
    ink = tuple(round(0.6 * part + 0.4 * 250) for part in RED)
    before, after = (share(picture.column(truth.quarantine + by), ink, 30) for by in (-2, 2))
    assert before < 0.08 and after > 0.15


def test_the_restarted_engine_has_a_cross_at_the_planted_step(planted, page):
    truth = planted[0]
    plots = [plot_of(page, "health", number) for number in range(page.page.locator("#health div.plot").count())]
    plot = next(plot for plot in plots if any("engine" in (trace["meta"] or {}) for trace in data(page, plot)))
    (cross,) = [trace for trace in data(page, plot) if trace["name"] == "restarted"]
    assert cross["meta"]["engine"] == "engine-1" and cross["x"] == [truth.restart]
    picture = page.picture(plot)
    there, elsewhere = (
        share(picture.column(step, row=1, width=9), RED, 25) for step in (truth.restart, truth.restart - 12)
    )
    assert there > 0.04 > elsewhere


def test_every_picture_is_drawn_and_nothing_leaves_the_file(planted, page):
    count = page.page.locator("div.plot").count()
    assert count > 20
    for number in range(count):
        page.page.locator("div.plot").nth(number).scroll_into_view_if_needed()
    page.page.wait_for_function("() => [...document.querySelectorAll('div.plot')].every(plot => plot.data)")
    marks = ".overplot path, .overplot image"
    inked = page.page.evaluate(
        f"() => [...document.querySelectorAll('div.plot')].map(p => p.querySelectorAll('{marks}').length)"
    )
    assert min(inked) > 0
    assert {url.split(":")[0] for url in page.asked} <= {"file", "data", "blob"} and len(page.asked) == 1
    assert page.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_report_passes_the_accessibility_checker(planted, chromium, dark):
    with opened(chromium, planted[1].as_uri(), dark=dark) as shown:
        plot_of(shown, "phase_timeline")
        shown.page.locator("#completions .text").first.focus()
        assert shown.violations() == []


def test_the_report_opens_at_its_summary(planted, chromium):
    with opened(chromium, planted[1].as_uri()) as shown:
        shown.page.wait_for_selector(".completion.chosen")
        assert shown.page.evaluate("scrollY") == 0


def test_on_paper_every_picture_is_there_and_inside_its_card(planted, chromium):
    """Paper does not wait: all is drawn, dark ink on white, when the browser has told that it will print."""
    with opened(chromium, planted[1].as_uri(), dark=True) as shown:
        plot_of(shown, "phase_timeline")
        shown.page.wait_for_function("() => document.querySelector('div.plot .main-svg')")
        found = shown.page.evaluate(
            "() => { dispatchEvent(new Event('beforeprint')); const right = e => e?.getBoundingClientRect().right ?? 0;"
            "return [...document.querySelectorAll('div.plot')].map(plot => "
            "[right(plot.querySelector('.main-svg')), right(plot.closest('.card'))]); }"
        )
        assert found and all(0 < drawn < card for drawn, card in found), found
        assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        shown.page.evaluate("dispatchEvent(new Event('afterprint'))")
        wide = "() => document.querySelector('div.plot .main-svg').getBoundingClientRect().width > 700"
        shown.page.wait_for_function(wide)


def test_a_phone_needs_no_sideways_scrolling(planted, chromium):
    with opened(chromium, planted[1].as_uri(), width=390, height=800) as shown:
        plot_of(shown, "phase_timeline")
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 391
        letter = "document.querySelector('.answer li').textContent = 'Z' + '\u0301\u0335'.repeat(4000)"
        shown.page.evaluate(letter)  # under accents that a browser draws side by side, and that break nowhere
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 391


def test_on_a_phone_the_names_of_the_axes_stand_apart(planted, chromium, tmp_path):
    """Two runs: the longest legend. The rows keep their height, and no name lies on another or on a mark."""
    report = write_report([planted[1].parent / name for name in ("run", "quiet")], tmp_path / "two.html")
    with opened(chromium, report.as_uri(), width=390, height=800) as shown:
        plot = plot_of(shown, "phase_timeline")
        shown.page.wait_for_function(
            "css => { const p = document.querySelector(css), l = p?._fullLayout;"
            " return l && Math.abs(l._size.h - l.meta.inside) < 5; }",
            arg=plot,
        )
        boxes = shown.page.locator(plot).evaluate(
            "plot => [...plot.querySelectorAll('.annotation, .legend')].map(each => each.getBoundingClientRect())"
            ".map(b => [b.x, b.y, b.right, b.bottom])"
        )
        names = shown.page.locator(plot).evaluate(
            "plot => plot._fullLayout.annotations.filter(each => !each.hovertext).map(each => each.text)"
        )
        assert names[0] == "entropy, nats" and len(names) == 4 and len(boxes) > 5
        over = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if _overlap(a, b) > 5 and a[1] != b[1]]
        assert not over, over
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 391


def _overlap(a: list[float], b: list[float]) -> float:
    """Pixels by which two boxes reach into each other, the lesser way."""
    return min(min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1]))


def test_names_from_right_to_left_are_kept_apart_in_the_viewer(hostile):
    line = hostile.page.evaluate("text => Rollouts.text.line(text)", "\u05d0\u05d1 \u202e x")
    assert line == "\u2068\u05d0\u05d1 U+202E x\u2069"
    assert hostile.page.evaluate("text => Rollouts.text.line(text)", "caf\u00e9 1") == "caf\u00e9 1"


# --- completions -----------------------------------------------------------------------------------


def test_hostile_completions_are_text_and_do_nothing(hostile):
    page = hostile.page
    page.locator("#rollout-step").select_option("3")
    page.locator("#rollout-group").select_option(
        label=next(o for o in page.locator("#rollout-group option").all_inner_texts() if o.startswith("odd/3"))
    )
    page.wait_for_function("() => document.querySelector('.task').innerText.includes('odd/3')")
    texts = page.locator(".completion .text").all_inner_texts()
    assert any("<script>window.harmed = 1</script>" in text for text in texts)
    assert any('onerror="window.harmed = 2"' in text for text in texts)
    assert any("\u241b[2J\u241b[31mred" in text and "\u2407" in text and "\u2400" in text for text in texts)
    assert any("U+202Egnp.4U+202C" in text and "U+FEFFU+200B" in text for text in texts)
    assert page.evaluate("window.harmed") is None and page.locator("#completions img").count() == 0
    assert hostile.complaints == [] and len(hostile.asked) == 1
    wide = page.evaluate("[...document.querySelectorAll('.completion')].every(c => c.scrollWidth <= c.clientWidth + 1)")
    assert wide and page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_million_letters_are_cut_with_the_length_said(hostile):
    rest = hostile.page.locator(".completion .rest", has_text="1,000,000 characters")
    assert "12,000 of 1,000,000 characters are shown" in rest.inner_text()
    assert re.search(r"rollouts/step_00003\.parquet, row \d+", rest.inner_text())


def value(text: str) -> float:
    """A sum as the page spells it out."""
    plain = text.replace("\u2212", "-").replace("\u00d7", "*")
    plain = re.sub(r"\|([^|]+)\|", r"abs(\1)", plain)
    plain = re.sub(r"exp\(([^=]*)\) = [-\d.e]+", r"exp(\1)", plain)
    plain = re.sub(r"([\d.]) [a-z]\w*", r"\1", plain)  # the names of rewards
    assert re.fullmatch(r"[-+*/(), .\d a-z]*", plain), text
    return eval(plain, {"__builtins__": {}}, {"exp": math.exp, "min": min, "abs": abs})


def test_the_arithmetic_of_every_token_adds_up(hostile):
    page = hostile.page
    page.locator("[data-pick=lucky]").click()
    page.wait_for_function("() => document.querySelector('.said').innerText.startsWith('Lucky hit')")
    box = page.locator(".completion.chosen .text")
    box.focus()
    box.press("Home")
    seen = set()
    for _ in range(8):
        rows = page.locator(".sums tr").evaluate_all("rows => rows.map(r => [...r.children].map(c => c.textContent))")
        assert len(rows) == 9
        terms = {name: float(result.removeprefix("= ").replace("\u2212", "-")) for name, _, result, _ in rows}
        for name, spelt, _, note in rows:
            if spelt:
                assert value(spelt) == pytest.approx(terms[name], rel=2e-3, abs=2e-4), (name, spelt, note)
        whole = terms["advantage of this token"] * min(terms["ratio, trainer / sampler"], CAP) * terms["mask"]
        assert terms["pull on this token"] == pytest.approx(whole, rel=1e-3)
        seen |= {(note if name in ("mask", "ratio, trainer / sampler") else spelt) for name, spelt, _, note in rows}
        box.press("ArrowRight")
    assert "left out of the loss" in seen and any(each.startswith("0.2 \u00d7 |") for each in seen)
    assert any("mean reward of the group" in note for _, _, _, note in rows)
    assert rows[0][1] == "1 \u00d7 1 numeric + 0.1 \u00d7 0.5 form"


def test_the_mouse_shows_the_same_as_the_keyboard(hostile):
    page = hostile.page
    page.locator(".completion .token").nth(3).hover()
    assert "token 4 of" in page.locator(".sums").inner_text()


def test_a_mouse_that_rests_leaves_the_keyboard_its_place(hostile):
    """A page that scrolls under the pointer makes the browser say that the pointer is over another token."""
    page = hostile.page
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")  # each scroll is over at once
    page.locator("[data-pick=lucky]").click()
    page.wait_for_function("() => document.querySelector('.said').innerText.startsWith('Lucky hit')")
    box = page.locator(".completion.chosen .text")
    box.press("Home")  # which scrolls to the text
    page.locator(".completion.chosen .token").nth(6).hover()
    box.press("Home")
    page.evaluate("() => addEventListener('pointerover', event => { window.over = event.target.dataset.i })")
    page.evaluate("scrollBy(0, 300)")
    page.wait_for_function("() => 'over' in window && window.over === undefined")
    page.evaluate("scrollBy(0, -300)")
    page.wait_for_function("() => window.over === '6'")
    assert "token 1 of" in page.locator(".sums").inner_text()


def test_tokens_are_coloured_by_what_is_asked_for(hostile):
    page, grounds = hostile.page, {}
    for mode in ("entropy", "drift", "advantage", "planning", "none"):
        page.locator("#rollout-colour").select_option(mode)
        grounds[mode] = page.locator(".completion.chosen .token").evaluate_all(
            "tokens => tokens.map(t => getComputedStyle(t).backgroundColor)"
        )
    assert len(set(grounds["entropy"])) > 5 and len(set(grounds["none"])) == 1
    assert grounds["planning"][1] != grounds["planning"][0] == grounds["planning"][2]
    page.locator("#rollout-colour").select_option("drift")
    legend = page.locator("div.legend").inner_text()
    assert "nats" in legend and "less likely to the trainer" in legend


def test_what_has_the_focus_is_not_under_the_sums(hostile):
    page = hostile.page
    apart = "box => document.querySelector('.sums').getBoundingClientRect().top - box.getBoundingClientRect().top"
    for box in page.locator(".completion .text").all():
        box.focus()
        assert box.evaluate(apart) > 20


def test_long_names_of_rewards_scroll_inside_their_card(hostile):
    page = hostile.page
    page.locator(".completion summary").first.click()
    page.evaluate("document.querySelector('.completion td').textContent = 'x'.repeat(200)")
    inside = "() => { const box = document.querySelector('.completion details'), card = box.closest('.completion');"
    inside += " return box.scrollWidth > box.clientWidth && card.scrollWidth <= card.clientWidth; }"
    assert page.evaluate(inside)
    page.locator(".completion summary").first.click()


def test_the_parts_of_a_reward_and_a_failed_judgement(hostile):
    page = hostile.page
    page.locator("#rollout-step").select_option("2")
    page.locator("#rollout-group").select_option(
        label=next(o for o in page.locator("#rollout-group option").all_inner_texts() if o.startswith("odd/2"))
    )
    failed = page.locator(".completion", has_text="not judged")
    failed.locator("summary").click()
    assert "Timeout: reward 'numeric' took longer" in failed.inner_text()
    other = page.locator(".completion").nth(2)
    other.locator("summary").click()
    told = other.locator("table").inner_text()
    assert "\u00d7 0.1 = 0.05" in told and "tag 0.25, line 0.25" in told and "shaping" in told


def test_two_completions_are_compared_and_a_prompt_is_followed_over_time(hostile):
    page = hostile.page
    boxes = page.locator(".completion input[type=checkbox]")
    boxes.nth(1).check()
    boxes.nth(2).check()
    assert page.locator(".compared del").all_inner_texts()[1:] and page.locator(".compared ins").all_inner_texts()[1:]
    seen = "() => { const { top } = document.querySelector('.compared').getBoundingClientRect();"
    page.wait_for_function(seen + " return top > 0 && top < innerHeight; }")
    page.locator("#rollout-group").select_option(
        label=next(o for o in page.locator("#rollout-group option").all_inner_texts() if o.startswith("sums/0"))
    )
    page.wait_for_function("() => document.querySelector('.task').innerText.includes('sums/0')")
    page.locator(".times summary").click()
    page.locator(".visits button", has_text="step 1: 4 of 8 right").click()
    page.wait_for_function("() => document.querySelector('#rollout-step').value === '1'")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_coloured_tokens_are_legible(hostile, dark):
    page = hostile.page
    page.emulate_media(color_scheme="dark" if dark else "light")
    for mode in ("entropy", "drift", "planning"):
        page.locator("#rollout-colour").select_option(mode)
        assert hostile.violations("#completions") == []


def test_the_hostile_texts_are_what_they_were():
    assert len(HOSTILE) == 8 and len(HOSTILE[6]) == 1_000_000

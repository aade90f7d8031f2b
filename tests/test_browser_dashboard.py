"""The live dashboard in a browser: new steps without a reload, a server that went away, the way to a completion."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import opened
from rollouts import log, rollout_run, write_step

ROOT = Path(__file__).parent.parent
PATIENCE = 10_000  # ms; a step is there within 3 s on a quiet machine (benchmarks/dashboard_live.py)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@contextlib.contextmanager
def serving(runs: Path, port: int):
    """The dashboard as a process of its own; its address."""
    command = [sys.executable, "-m", "rltrain", "dashboard", str(runs), "--port", str(port)]
    served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://\S+", served.stdout.readline())[0]
    finally:
        os.kill(served.pid, signal.SIGINT)
        served.wait(timeout=20)
        served.stdout.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory, chromium):
    """(the open page, the run that is being written, the runs, the port)"""
    folder = tmp_path_factory.mktemp("runs")
    run = rollout_run(folder / "quick-001", 3, hostile=True)
    port = free_port()
    with serving(folder, port) as address, opened(chromium, address) as shown:
        shown.page.wait_for_selector("#card-reward .plot .plot-container")
        yield shown, run, folder, port


def step_said(number: int) -> str:
    return f"() => document.getElementById('step')?.textContent.startsWith('step {number} of 40')"


def drawn_to(number: int) -> str:
    """Whether the reward's picture ends at a step."""
    last = "Math.max(...p.data.flatMap(t => [...(p.calcdata[p.data.indexOf(t)] ?? [])].map(c => c.x)))"
    return f"() => [...document.querySelectorAll('#card-reward div.plot')].some(p => p.data && {last} === {number})"


def test_the_pictures_are_drawn_and_nothing_comes_from_elsewhere(live):
    shown, _, _, port = live
    page = shown.page
    assert "quick-001" in page.locator("#head").inner_text() and "step 3 of 40" in page.locator("#runs").inner_text()
    assert "phase" in page.locator("#summary").inner_text().lower()
    assert all(url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:")) for url in shown.asked)
    assert shown.complaints == []


def test_a_new_step_is_shown_without_a_reload(live):
    shown, run, *_ = live
    page = shown.page
    page.evaluate("window.kept = true")
    log(run, 4)
    write_step(run, 4, np.random.default_rng(4))
    run.flush()
    page.wait_for_function(step_said(4), timeout=PATIENCE)
    page.wait_for_function(drawn_to(4), timeout=PATIENCE)
    assert page.evaluate("window.kept") is True


def test_the_page_goes_on_after_the_server_was_restarted(live, tmp_path, chromium):
    run = rollout_run(tmp_path / "again", 1)
    port = free_port()
    with serving(tmp_path, port) as address:
        context = opened(chromium, address)
        shown = context.__enter__()
        shown.page.wait_for_function(step_said(1), timeout=PATIENCE)
    try:
        shown.page.wait_for_function(
            "() => document.getElementById('line').textContent.includes('lost')", timeout=PATIENCE
        )
        log(run, 2)
        shown.page.evaluate("window.kept = true")
        with serving(tmp_path, port):
            shown.page.wait_for_function(step_said(2), timeout=2 * PATIENCE)
            shown.page.wait_for_function("() => document.getElementById('line').textContent === ''")
            assert shown.page.evaluate("window.kept") is True
    finally:
        context.__exit__(None, None, None)


def test_the_worst_completion_of_the_last_step_is_one_click_away(live):
    shown, *_ = live
    page = shown.page
    page.locator("#tabs a", has_text="worst").click()
    page.wait_for_selector(".completion.chosen")
    assert page.locator("#rollout-step").input_value() == page.locator("#rollout-step option").last.get_attribute(
        "value"
    )
    assert "Worst: 1 of 24" in page.locator(".said").inner_text()
    assert page.locator(".completion.chosen .verdict").inner_text().strip().endswith("wrong")
    assert "tab=rollouts" in page.url and "row=" in page.url


def test_a_point_of_a_curve_leads_to_the_rollouts_of_its_step(live):
    shown, *_ = live
    page = shown.page
    page.locator("#tabs a", has_text="Pictures").click()
    plot = page.locator("#card-reward div.plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    place = plot.evaluate(
        "p => { const t = p._fullData.findIndex(t => t.mode?.includes('markers') && t.showlegend !== false), "
        "c = p.calcdata[t][1], x = p._fullLayout.xaxis, y = p._fullLayout[p._fullData[t].yaxis.replace('y', 'yaxis')]; "
        "return [c.x, x._offset + x.l2p(c.x), y._offset + y.l2p(c.y)]; }"
    )
    page.mouse.move(box["x"] + place[1], box["y"] + place[2])
    page.mouse.click(box["x"] + place[1], box["y"] + place[2])
    page.wait_for_function(f"() => document.querySelector('#rollout-step')?.value === '{place[0]}'")


def test_hostile_completions_do_nothing_and_the_rest_can_be_opened(live):
    shown, *_ = live
    page = shown.page
    page.evaluate("location.hash = new URLSearchParams({run: 'quick-001', tab: 'rollouts', step: 3, row: 16})")
    page.wait_for_function("() => document.querySelector('.task')?.innerText.includes('odd/3')")
    assert page.evaluate("window.harmed") is None and page.locator("#rollouts img").count() == 0
    rest = page.locator(".completion .rest", has_text="1,000,000 characters")
    for _ in range(4):
        rest.locator("button").click()
    assert "50,000 of 1,000,000 characters" in rest.inner_text()
    with page.context.expect_page() as other:
        rest.locator("a").click()
    other.value.wait_for_load_state()
    assert len(other.value.inner_text("body")) == 1_000_000
    other.value.close()
    assert shown.complaints == []


def said(page) -> str:
    return page.locator(".said").inner_text()


def test_nothing_lies_over_the_pictures_when_they_are_scrolled(live):
    page = live[0].page
    page.set_viewport_size({"width": 1280, "height": 500})
    page.evaluate("() => { location.hash = '#tab=pictures'; scrollTo({ top: 900, behavior: 'instant' }); }")
    over = "() => scrollY > 500 && document.getElementById('tabs').getBoundingClientRect().bottom < 0"
    page.wait_for_function(over, timeout=PATIENCE)
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    page.set_viewport_size({"width": 1280, "height": 1000})


def test_a_step_without_completions_leads_to_the_next_one_and_says_so(live):
    page = live[0].page
    page.evaluate("location.hash = new URLSearchParams({run: 'quick-001', tab: 'rollouts', step: 0, row: 5})")
    page.wait_for_function("() => document.querySelector('.said').textContent.includes('Step 0 has no completions')")
    assert "these are of step 1" in said(page) and page.locator("#rollout-step").input_value() == "1"
    assert page.locator(".completion.chosen").count() == 0  # row 5 is another step's


def test_a_step_without_a_lucky_hit_shows_no_other_step_s_completions(live):
    page = live[0].page
    page.evaluate(
        "fetch = (old => async url => { const got = await old(url); if (!url.endsWith('/step/3')) return got; "
        "const data = await got.json(); data.orders.lucky = []; return new Response(JSON.stringify(data)); })"
        "(fetch.bind(window)); true"
    )
    page.locator("#rollout-step").select_option("2")
    page.wait_for_function("() => document.querySelector('#rollout-step').value === '2'")
    page.locator("button[data-pick=lucky]").click()
    page.wait_for_function("() => document.querySelector('.said').textContent.startsWith('Lucky hit: 1')")
    page.locator("button[aria-label='step after']").click()
    page.wait_for_function("() => document.querySelector('.said').textContent.startsWith('Step 3 has no lucky hit')")
    assert "Its first prompt is shown" in said(page)
    assert page.locator(".completion .text").first.inner_text().startswith("step 3:")


def test_a_torn_step_takes_the_other_step_s_completions_away(live):
    shown, run, *_ = live
    page = shown.page
    kept = (run.path / "rollouts" / "step_00001.parquet").read_bytes()
    (run.path / "rollouts" / "step_00001.parquet").write_bytes(b"PAR1 torn")
    try:
        page.locator("#rollout-step").select_option("1")
        page.wait_for_function("() => document.querySelector('.said').textContent.startsWith('Step 1 cannot be shown')")
        assert page.locator(".completion").count() == 0 == page.locator("#rollout-group option").count()
    finally:
        (run.path / "rollouts" / "step_00001.parquet").write_bytes(kept)
        shown.complaints.clear()  # the browser's own, of the answer


def test_steps_that_a_resumed_run_takes_back_are_not_shown_any_more(live):
    shown, run, *_ = live
    page = shown.page
    page.locator("#rollout-step").select_option("3")
    page.wait_for_function("() => document.querySelector('.completion .text')?.innerText.startsWith('step 3:')")
    place = run.path / "rollouts" / "step_00003.parquet"
    kept = place.read_bytes()
    place.unlink()
    log(run, 5)  # what is written is news
    run.flush()
    page.wait_for_function("() => document.querySelector('.said').textContent.includes('Step 3 has no completions')")
    assert page.locator(".completion .text").first.inner_text().startswith("step 2:")
    place.write_bytes(kept)
    assert shown.complaints == []


def test_a_run_that_is_not_there_is_said(live):
    page = live[0].page
    page.evaluate("location.hash = new URLSearchParams({run: 'quick-999', tab: 'rollouts', step: 2, row: 3})")
    page.wait_for_function("() => document.getElementById('absent').textContent.includes('no run quick-999')")
    assert "this is quick-001" in page.locator("#absent").inner_text()
    page.evaluate("location.hash = new URLSearchParams({run: 'quick-001'})")
    page.wait_for_function("() => document.getElementById('absent').hidden")


def test_a_run_beside_that_is_taken_away_stops_no_picture(live):
    shown, _, folder, _ = live
    page = shown.page
    rollout_run(folder / "beside-003", 2)
    assert not page.locator("#card-difference").is_visible()  # of one run there is none
    page.get_by_label("draw beside-003 beside").check(timeout=PATIENCE)
    page.wait_for_function("() => document.querySelector('#card-difference').offsetHeight > 0", timeout=PATIENCE)
    page.wait_for_function("() => document.querySelector('#card-reward')?.innerText.includes('beside-003')")
    shutil.rmtree(folder / "beside-003")
    gone = "() => !document.querySelector('#card-reward').innerText.includes('beside-003')"
    page.wait_for_function(gone, timeout=PATIENCE)
    shown.complaints.clear()  # the browser's own: it was asked for once more before the list was read


def test_a_run_that_is_begun_anew_under_its_name_is_followed(live):
    shown, _, folder, _ = live
    page = shown.page
    rollout_run(folder / "twice-004", 2).close()
    page.evaluate("location.hash = new URLSearchParams({run: 'twice-004'})")
    page.locator("#runs a", has_text="twice-004").click(timeout=PATIENCE)
    page.wait_for_function(step_said(2), timeout=PATIENCE)
    shutil.rmtree(folder / "twice-004")
    page.wait_for_function("() => document.getElementById('line').textContent.includes('no run')", timeout=PATIENCE)
    run = rollout_run(folder / "twice-004", 1)
    page.wait_for_function(drawn_to(1), timeout=PATIENCE)
    log(run, 2)
    page.wait_for_function(drawn_to(2), timeout=PATIENCE)
    assert page.locator("#line").inner_text() == ""
    page.evaluate("location.hash = new URLSearchParams({run: 'quick-001'})")
    page.wait_for_function("() => document.querySelector('#head h2').textContent === 'quick-001'", timeout=PATIENCE)
    shutil.rmtree(folder / "twice-004")
    shown.complaints.clear()


def test_a_page_that_is_not_seen_holds_no_line(live):
    page = live[0].page
    page.evaluate(
        "window.lines = 0; EventSource.prototype.close = "
        "(old => function () { lines -= 1; old.call(this); })(EventSource.prototype.close); true"
    )
    hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}})"
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(f"{hide.format('true')}; {look}")
    assert page.evaluate("lines") == -1
    with page.expect_request(lambda request: request.url.endswith("/follow")):
        page.evaluate(f"{hide.format('false')}; {look}")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_dashboard_passes_the_accessibility_checker(live, dark):
    shown, *_ = live
    page = shown.page
    page.emulate_media(color_scheme="dark" if dark else "light")
    assert shown.violations() == []
    page.locator("#tabs a", has_text="Pictures").click()
    page.wait_for_selector("#card-phase_timeline:not(.stale)")
    assert shown.violations() == []
    page.locator("#tabs a", has_text="worst").click()
    page.wait_for_selector(".completion.chosen")


def test_all_of_it_can_be_reached_with_the_keyboard(live):
    shown, *_ = live
    page = shown.page
    page.locator("#tabs a", has_text="Pictures").click()
    page.locator("#theme").focus()
    reached = {"theme"}
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 20)"))
    assert {"theme", "quick-001", "Rollouts", "worst", "axis"} <= reached


def test_a_run_that_begins_later_appears(live):
    shown, _, folder, _ = live
    rollout_run(folder / "later-002", 1)
    shown.page.wait_for_function(
        "() => document.getElementById('runs').innerText.includes('later-002')", timeout=PATIENCE
    )
    shown.page.locator("#runs a", has_text="later-002").click()
    shown.page.wait_for_function(step_said(1), timeout=PATIENCE)
    assert shown.complaints == []


def test_many_runs_leave_room_for_the_open_one_on_a_phone(live, chromium):
    _, _, folder, port = live
    for number in range(20):
        (folder / f"many-{number:03d}").mkdir()
        (folder / f"many-{number:03d}" / "config.yaml").write_text("training: {steps: 5}\n")
    with opened(chromium, f"http://127.0.0.1:{port}/", width=360, height=740) as shown:
        shown.page.wait_for_function("() => document.querySelectorAll('#runs .run').length > 20", timeout=PATIENCE)
        assert shown.page.locator("main").bounding_box()["y"] < 500

"""The dashboard's server: what it answers, whom it lets in, what it refuses, and what it never does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from rollouts import log, rollout_run
from starlette.testclient import TestClient

from diagnostics.report.dashboard.app import application
from diagnostics.report.dashboard.glance import Glances
from diagnostics.report.dashboard.guard import Guard, is_known
from diagnostics.report.dashboard.serve import address, bind, is_loopback, serve
from rltrain import cli
from rltrain.records import RunDir, pulse

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    rollout_run(folder / "a run", 3)
    RunDir.create(folder / "empty", "training: {steps: 5}\n", {})
    (folder / "no run").mkdir()
    (folder.parent / "secret").mkdir(exist_ok=True)
    (folder.parent / "secret" / "config.yaml").write_text("token: hidden\n")
    return folder


def client(runs, host="127.0.0.1", token=None, base="http://localhost:7117") -> TestClient:
    app = Guard(application(runs), host=host, token=token, cookie="rltrain_7117")
    return TestClient(app, base_url=base, follow_redirects=False)


@pytest.fixture(scope="module")
def local(runs):
    return client(runs)


# --- answers -------------------------------------------------------------------------------------


def test_the_runs_are_listed_with_how_they_stand(local):
    found = {run["name"]: run for run in local.get("/api/runs").json()}
    assert set(found) == {"a run", "empty"}
    assert found["a run"]["step"] == 3 and found["a run"]["planned"] == 40 and found["a run"]["state"] == "running"
    assert found["empty"]["step"] is None and found["empty"]["planned"] == 5


def test_one_run_may_be_given_instead_of_a_directory_of_them(runs):
    one = client(runs / "a run")
    assert [run["name"] for run in one.get("/api/runs").json()] == ["a run"]
    assert one.get("/api/run/a%20run").json()["steps"] == [1, 2, 3]


@pytest.mark.parametrize("rights", [0o000, 0o111], ids=["closed", "not to be listed"])
def test_a_directory_that_may_not_be_read_hides_no_other_run(rights):
    with tempfile.TemporaryDirectory() as folder:  # others may look into it, unlike those of pytest
        os.chmod(folder, 0o755)
        rollout_run(Path(folder, "mine"), 2)
        closed = rollout_run(Path(folder, "theirs"), 2).path
        asking, myself = client(Path(folder)), os.geteuid()
        closed.chmod(rights)
        try:
            if myself == 0:  # who may read everything
                os.seteuid(65534)
            found = {run["name"]: run["state"] for run in asking.get("/api/runs").json()}
            answer = asking.get("/api/run/theirs")
        finally:
            os.seteuid(myself)
            closed.chmod(0o755)
    assert found.pop("mine") == "running" and set(found.values()) <= {"unreadable"}
    assert answer.status_code in (404, 422) and "theirs" in answer.text


def test_a_run_s_words_and_pictures(local):
    about = local.get("/api/run/a%20run").json()
    assert about["settings"]["cap"] == 1.05 and about["verdict"]["phase"] and about["sentences"]
    listed = local.get("/api/run/a%20run/cards").json()
    assert all(card["figures"] == [] for card in listed)
    drawn = local.get("/api/run/a%20run/cards", params={"only": "reward"}).json()
    figures = {card["anchor"]: card["figures"] for card in drawn}
    assert figures["reward"] and not figures["phase_timeline"]
    beside = local.get("/api/run/a%20run/cards", params={"only": "reward", "with": "empty", "x": "tokens"})
    assert beside.status_code == 200


def test_an_empty_run_is_shown_as_far_as_it_goes(local):
    assert local.get("/api/run/empty").json()["steps"] == []
    assert local.get("/api/run/empty/cards", params={"only": "reward"}).status_code == 200


def test_a_step_a_group_and_a_whole_text(local):
    step = local.get("/api/run/a%20run/step/2").json()
    worst = step["rows"][step["orders"]["worst"][0]]
    group = local.get("/api/run/a%20run/step/2/group", params={"group": worst["group"]}).json()
    assert worst["row"] in [completion["row"] for completion in group["completions"]]
    text = local.get(f"/api/run/a%20run/step/2/row/{worst['row']}")
    assert text.headers["content-type"] == "text/plain; charset=utf-8" and text.text.startswith("step 2: so we need")
    visits = local.get("/api/run/a%20run/history", params={"key": "sums/0"}).json()
    assert [visit["step"] for visit in visits["visits"]] == [1, 2, 3] and not visits["growing"]


def test_the_first_news_come_at_once(local, runs):
    app = application(runs, stopping=iter([False, True]).__next__)
    with TestClient(app, base_url="http://localhost") as one, one.stream("GET", "/api/run/a%20run/follow") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = "".join(answer.iter_text())
    news = json.loads(re.search(r"event: news\ndata: (.*)\n", told)[1])
    assert news["step"] == 3 and news["steps"] == [1, 2, 3] and "retry: 1000" in told


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/run/none", 404),
        ("/api/run/no%20run", 404),
        ("/api/run/..%2Fsecret", 404),
        ("/api/run/%2e%2e", 404),
        ("/api/run/a%20run%2F..%2F..%2Fsecret", 404),
        ("/api/run/..%2Fsecret/follow", 404),
        ("/static/..%2Fapp.py", 404),
        ("/static/%2Fetc%2Fpasswd", 404),
        ("/api/run/a%20run/step/99", 404),
        ("/api/run/a%20run/step/-1", 404),
        ("/api/run/a%20run/step/2/row/99", 404),
        ("/api/run/a%20run/step/2/group?group=99", 404),
        ("/api/run/a%20run/cards?with=none", 404),
    ],
)
def test_what_is_not_there_is_said_and_nothing_else_can_be_reached(local, path, status):
    answer = local.get(path)
    assert answer.status_code == status and "hidden" not in answer.text and "root:" not in answer.text


def test_nothing_but_reading(local):
    for method in ("post", "put", "delete", "patch"):
        assert getattr(local, method)("/api/runs").status_code == 405


def test_a_torn_step_is_an_answer_in_words(tmp_path):
    run = rollout_run(tmp_path / "a", 1)
    (run.path / "rollouts/step_00001.parquet").write_bytes(b"torn")
    answer = client(tmp_path).get("/api/run/a/step/1")
    assert answer.status_code == 422 and "step_00001.parquet: cannot be read" in answer.text


def test_looking_changes_no_file(runs, local):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    for path in ("/api/runs", "/api/run/a%20run", "/api/run/a%20run/cards?only=reward", "/api/run/a%20run/step/1"):
        local.get(path)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


# --- who is let in -------------------------------------------------------------------------------


def test_every_answer_forbids_what_is_not_the_dashboard_s(local):
    for path in ("/", "/api/runs", "/static/viewer.js", "/nothing"):
        headers = local.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self';" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    page = local.get("/").text
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page) and " on" not in re.sub(r">[^<]*<", "", page)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.example:7117", "", "[::1", "a@localhost@b"]
)
def test_a_name_that_is_not_ours_is_refused(runs, host):
    answer = client(runs).get("/api/runs", headers={"host": host})
    assert answer.status_code == 400 and "unknown host" in answer.text and "a run" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:7117", "[::1]:7117"])
def test_loopback_has_three_names(host):
    assert is_known(host, {"localhost", "127.0.0.1", "::1"}, None)


def test_elsewhere_numbers_and_the_machine_s_name_are_known():
    assert is_known("10.0.0.7:7117", set(), "node1") and is_known("node1.cluster", set(), "node1")
    assert not is_known("node2", set(), "node1") and not is_known("10.0.0.7", set(), None)


def test_with_a_token_nothing_is_read_without_it(runs):
    guarded = client(runs, "0.0.0.0", "a-long-token", "http://10.0.0.7:7117")
    for path in ("/", "/api/runs", "/static/viewer.js", "/api/runs?token=wrong", "/api/runs?token="):
        assert guarded.get(path).status_code == 403
    guarded.cookies.set("rltrain_7117", "wrong")
    assert guarded.get("/api/runs").status_code == 403


def test_the_token_of_the_address_becomes_a_cookie(runs):
    guarded = client(runs, "0.0.0.0", "a-long-token", "http://10.0.0.7:7117")
    answer = guarded.get("/?token=a-long-token&x=1")
    assert answer.status_code == 303 and answer.headers["location"] == "/?x=1"
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=strict" in answer.headers["set-cookie"]
    assert guarded.get("/api/runs").status_code == 200
    assert guarded.get("http://10.0.0.7:7117//evil.example/?token=a-long-token").headers["location"].startswith("/evil")


def test_the_token_is_compared_in_constant_time(runs, monkeypatch):
    asked = []
    monkeypatch.setattr("secrets.compare_digest", lambda a, b: asked.append((a, b)) or False)
    client(runs, "0.0.0.0", "a-long-token", "http://10.0.0.7:7117").get("/?token=guess")
    assert asked == [(b"guess", b"a-long-token")]


# --- the command ---------------------------------------------------------------------------------


def test_a_taken_port_is_wrong_input(runs, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["dashboard", str(runs), "--port", str(port)]) == 2
    assert f"port {port} is taken" in (told := capsys.readouterr().err) and f"--port {port + 1}" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no such directory"),
        ([".", "--port", "70000"], "expected one from 0"),
        ([".", "--host", "no.such.host.invalid"], "is not known"),
        ([".", "--host", "192.0.2.1"], "no address of this machine"),
        ([".", "--token", "a b"], "8 to 200 letters"),
    ],
)
def test_wrong_input_is_told_with_what_to_do(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["dashboard", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_other_hosts_get_a_token_in_the_address():
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost") and not is_loopback("0.0.0.0")
    assert address("127.0.0.1", 7117, None) == "http://127.0.0.1:7117/"
    assert address("::1", 1, None) == "http://[::1]:1/"
    assert address("0.0.0.0", 7117, "t=1") == f"http://{socket.gethostname()}:7117/?token=t%3D1"
    bind("127.0.0.1", 0).close()


def test_it_serves_until_it_is_interrupted(runs):
    command = [sys.executable, "-m", "rltrain", "dashboard", str(runs), "--port", "0", "--host", "0.0.0.0"]
    held_back = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    served = subprocess.Popen(command, cwd=ROOT, env=held_back, stdout=pipe, stderr=pipe, text=True)
    told = served.stdout.readline()
    found = re.search(r"http://[^:]+:(\d+)/\?token=([\w-]{20,})", told)
    url = f"http://127.0.0.1:{found[1]}/api/runs"
    assert httpx.get(url).status_code == 403
    assert httpx.get(url, params={"token": found[2]}, follow_redirects=True).status_code == 200
    os.kill(served.pid, signal.SIGINT)
    out, error = served.communicate(timeout=20)
    assert served.returncode == 0 and "dashboard ended" in out and error == ""


def test_an_interrupt_in_the_moment_of_the_address_ends_it_quietly(runs):
    code = "import signal, sys; from pathlib import Path; from diagnostics.report.dashboard import serve; "
    code += "said = lambda words: (print(words), 'http' in words and signal.raise_signal(signal.SIGINT)); "
    command = [sys.executable, "-c", code + "serve(Path(sys.argv[1]), port=0, say=said)", str(runs)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and ended.stderr == "" and "dashboard ended" in ended.stdout


def test_serve_is_the_entry_point():
    from importlib.metadata import entry_points

    (point,) = entry_points(group="rltrain.reports", name="dashboard")
    assert point.load() is serve


# --- how a run stands ----------------------------------------------------------------------------


def test_a_glance_reads_the_end_of_a_long_file(tmp_path):
    run = RunDir.create(tmp_path / "a", "training: {steps: 4000}\n", {})
    with open(run.path / "metrics.jsonl", "w") as file:
        file.writelines(json.dumps({"step": s, "reward/mean": s / 4000, "pad": "x" * 90}) + "\n" for s in range(3000))
    glances = Glances()
    found = glances.of(run.path)
    assert found["step"] == 2999 and found["reward"] == 2999 / 4000 and found["state"] == "running"
    assert glances.of(run.path, now=found["written"] + 10_000)["state"] == "stopped"
    with pulse.beating(run.path):
        assert glances.of(run.path, now=found["written"] + 10_000)["state"] == "running", "a long step"
    assert glances.of(run.path)["state"] == "stopped", "it said so itself"
    log(run, 4000)
    assert glances.of(run.path)["state"] == "finished"

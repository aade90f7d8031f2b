"""The kit for those who write rewards: a file to begin with, its contract, one score."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rltrain import cli
from rltrain.kit import contract, loop_plugins, rows
from rltrain.kit.adversaries import adversaries
from rltrain.kit.lent import TRIAL
from rltrain.plugins import installed

FILE = Path(__file__).parent / "data" / "trial_rewards.py"
SHAPING = {
    "overlong": ["max_length=100", "buffer=20"],
    "length": ["high=100"],
    "repetition": [],
    "language": ["script=[latin, greek]"],
    "diversity": [],
    "fluency": [],
    "format": [],
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(capfd, *arguments):
    status = cli.main(arguments)
    said = capfd.readouterr()
    return status, said.out, said.err


# --- new ---


def test_a_new_reward_passes_its_check_and_its_test_as_written(here, capfd):
    assert ran(capfd, "new", "reward", "polite")[0] == 0
    assert sorted(path.name for path in here.iterdir()) == ["polite.py", "test_polite.py"]
    status, out, _ = ran(capfd, "plugin", "check", "polite")
    assert status == 0, out
    assert "false accepts: 0 of" in out
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_polite.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


@pytest.mark.parametrize(("kind", "name"), [("curriculum", "easy_first"), ("diagnostic", "cut_off")])
def test_a_new_curriculum_or_diagnostic_passes_its_check_and_its_test_as_written(here, capfd, kind, name):
    assert f"{kind}" in ran(capfd, "new", kind, name)[1]
    assert sorted(path.name for path in here.iterdir()) == [f"{name}.py", f"test_{name}.py"]
    status, out, _ = ran(capfd, "plugin", "check", name)
    assert status == 0 and "goes on from its state" in out and "warning" not in out, out
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a-b", "expected a Python name"),
        ("math", "is installed"),
        ("json", "module of this name"),
        ("polite", "is there already"),
    ],
)
def test_new_refuses(here, capfd, name, told):
    (here / "polite.py").write_text("mine")
    status, _, err = ran(capfd, "new", "reward", name)
    assert (status, (here / "polite.py").read_text()) == (2, "mine")
    assert told in err
    assert [path.name for path in here.iterdir()] == ["polite.py"]


# --- plugin check ---


@pytest.mark.parametrize("name", [found.name for found in installed("rltrain.rewards") if found.name != "verifiers"])
def test_the_built_in_rewards_keep_the_contract(name):
    role = "shaping" if name in SHAPING else "outcome"
    reward = rows.reward(name, SHAPING.get(name, []), role=role, timeout_s=20, lent=TRIAL)
    sections, cases = contract.look(reward, None)
    assert [line.text for section in sections for line in section.lines if line.verdict == "error"] == []
    assert {case.name for case in cases} >= adversaries(rows.task({"prompt": "x"}, 1)).keys()
    if role == "outcome":
        assert any("gold completions: EXAMPLES" in line.text for line in sections[0].lines)


LOOP_PLUGINS = [(kind, found.name) for kind in ("curriculum", "diagnostic") for found in installed(rows.GROUPS[kind])]


@pytest.mark.parametrize(("kind", "name"), LOOP_PLUGINS)
def test_the_built_in_curricula_and_diagnostics_keep_theirs(kind, name):
    assert rows.find(name) == (kind, name)
    found = [line for section in loop_plugins.look(kind, name, {}) for line in section.lines]
    assert [line.text for line in found if line.verdict == "error"] == []
    assert any("goes on from its state" in line.text for line in found)


FORGETFUL = """
import random


class Forgetful:
    \"\"\"Draws in turn.\"\"\"

    def __init__(self, tasks, *, seed, inner=None):
        self.tasks, self.at, self.seed = tasks, 0, seed

    def sample(self, n):
        self.at += n
        return [self.tasks[{draw}] for i in range(n)]

    def observe(self, groups):
        pass

    def admit(self, group):
        return None

    def state_dict(self):
        return {state}

    def load_state_dict(self, state):
        self.at = state.get("at", 0)

    def metrics(self):
        return {metrics}
"""
ODD = {
    "state": ({"draw": "self.at + i", "state": "{}", "metrics": "{}"}, "state_dict leaves something out"),
    "chance": (
        {"draw": "random.randrange(50)", "state": "{'at': self.at}", "metrics": "{}"},
        "built anew and played the same steps it says something else",
    ),
    "metrics": ({"draw": "i", "state": "{}", "metrics": "None"}, "expected a dict of numbers"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_curriculum_that_breaks_its_contract_is_told(here, capfd, name):
    parts, told = ODD[name]
    text = FORGETFUL
    for part, code in parts.items():
        text = text.replace("{" + part + "}", code)
    (here / "forgetful.py").write_text(text)
    status, out, _ = ran(capfd, "plugin", "check", "forgetful")
    assert status == 2 and told in " ".join(out.split()), out


CLASSES = {
    "class Thing:\n    pass\n": (
        "class Thing could be a curriculum, but has no sample(n), no observe(groups), no admit(group), no "
        "state_dict(), no load_state_dict(state), no metrics(); a diagnostic, but has no observe(record), no events(), "
        "no state_dict(), no load_state_dict(state), no panels; a reward is a function (task, completion, ...)",
    ),
    FORGETFUL.replace("def sample", "def draw").replace("class Forgetful", "class Thing"): (
        "a curriculum, but has no sample(n); a diagnostic, but has no events(), no panels",
    ),
    "class Thing:\n    def __init__(self, tasks, *, seed, inner=None): pass\n    def sample(self, n): return []\n": (
        "curriculum 'thing.py:Thing': Thing has no observe(groups), no admit(group)",
    ),
    "def Thing(tasks, *, seed, inner=None):\n    return tasks\n": ("curriculum 'thing.py:Thing':", "no sample(n)"),
}


@pytest.mark.parametrize("text", CLASSES)
def test_a_class_that_is_no_plugin_is_told_what_it_lacks_of_each_kind(here, capfd, text):
    (here / "thing.py").write_text(text.replace("{draw}", "i").replace("{state}", "{}").replace("{metrics}", "{}"))
    status, out, err = ran(capfd, "plugin", "check", "thing.py:Thing")
    assert status == 2 and "Traceback" not in err
    for told in CLASSES[text]:
        assert told in " ".join((out + err).split())


BAD = {
    "accepts": ("return 1.0", "false accepts: 29 of 29"),
    "refuses": ("return 0.0", "false rejects: 12 of 12"),
    "random": ("import random; return random.random()", "other values the second time in the same process"),
    "process": ("import os; return float(os.getpid() % 1000) / 1000", "the second time in another process"),
    "raises": ("return 1 / len(completion.text)", "empty: Raised ZeroDivisionError"),
    "nan": ("return float('nan')", "NotFinite"),
    "hangs": ("while not completion.text: pass\n    return 1.0", "empty: Timeout: reward 'hangs'"),
    "dies": ("import os\n    if not completion.text: os._exit(3)\n    return 0.0", "ended its process with status 3"),
    "never": ("return None", "applies to none of the tasks"),
    "text": ("return 'good'", "WrongType: 'text' returned str"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_breaks_the_contract_is_named(here, capfd, name):
    body, told = BAD[name]
    (here / f"{name}.py").write_text(f"def {name}(task, completion):\n    {body}\n")
    status, out, _ = ran(capfd, "plugin", "check", name, "--timeout-s", "0.5")
    assert status == 2, out
    assert told in " ".join(out.split()), out


def test_gold_completions_may_come_from_a_file(here, capfd):
    (here / "rows.jsonl").write_text('{"prompt": "2 + 2?", "answer": 4, "completion": "It is 4"}\n')
    assert ran(capfd, "plugin", "check", "numeric", "--file", "rows.jsonl")[0] == 0
    (here / "rows.jsonl").write_text('{"prompt": "2 + 2?", "answer": 4, "completion": "It is 5"}\n')
    status, out, _ = ran(capfd, "plugin", "check", "numeric", "--file", "rows.jsonl")
    assert status == 2
    assert "false rejects: 1 of 1" in out


# --- try ---


def test_try_shows_the_score_and_how_it_was_reached(here, capfd):
    task = json.dumps({"prompt": "Half of 3?", "answer": "3/2"})
    status, out, _ = ran(capfd, "try", "math", "--task", task, "--completion", "It is \\boxed{1.5}.")
    assert status == 0
    assert "outcome  1" in out
    assert "by_boxed = 1" in out
    status, out, _ = ran(capfd, "try", "numeric", "tolerance=0.1", "--answer", "10", "--completion", "10.5")
    assert "outcome  1" in out
    assert "tolerance = 0.1" in out
    assert "does not apply" in ran(capfd, "try", "numeric", "--completion", "x")[1]


def test_try_of_a_reward_that_fails_ends_with_status_1(capfd):
    status, out, _ = ran(capfd, "try", f"{FILE}:says", "--completion", "raise")
    assert status == 1
    assert "Raised KeyError" in out
    assert "trial_rewards.py" in out


def test_try_prints_a_line_a_row_and_a_failure_costs_its_own_row(here, capfd):
    asked = [{"completion": text} for text in ("fine", "raise", "exit", "die", "loop", "fine")]
    (here / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in asked))
    status, out, _ = ran(capfd, "try", f"{FILE}:says", "--file", "rows.jsonl", "--timeout-s", "0.5")
    assert status == 0
    told = [json.loads(line) for line in out.splitlines()]
    assert [row["outcome"] for row in told] == [1.0, None, None, None, None, 1.0]
    kinds = [row["error"] and row["error"].split(":")[0] for row in told]
    assert kinds == [None, "Raised KeyError", "Raised SystemExit", "Died", "Timeout", None]
    assert told[0].keys() == {"outcome", "total", "parts", "error"}


def test_what_a_reward_prints_stays_out_of_the_rows(here, capfd):
    (here / "loud.py").write_text("def loud(task, completion):\n    print('heard')\n    return 1.0\n")
    (here / "rows.jsonl").write_text('{"completion": "x"}')
    _, out, err = ran(capfd, "try", "loud", "--file", "rows.jsonl")
    assert json.loads(out)["outcome"] == 1.0
    assert "heard" in err


def test_try_runs_trls_form_unchanged(here, capfd):
    (here / "rows.jsonl").write_text('{"completion": "4", "answer": "4"}\n{"completion": "5", "answer": "4"}')
    _, out, _ = ran(capfd, "try", f"{FILE}:trl_form", "--file", "rows.jsonl")
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["try", "exact"], "either --completion TEXT or --file"),
        (["try", "exat", "--completion", "x"], "did you mean 'exact'"),
        (["try", "exact", "extrct=boxed", "--completion", "x"], "no argument 'extrct'; did you mean 'extract'"),
        (["try", "exact", "boxed", "--completion", "x"], "expected key=value"),
        (["try", "exact", "--task", "{x", "--completion", "x"], "--task: no JSON"),
        (["try", "exact", "--task", '{"anser": "4"}', "--completion", "x"], "no field 'anser'; did you mean 'answer'"),
        (["try", "exact", "--file", "none.jsonl"], "none.jsonl: cannot be read"),
        (["try", "exact", "--file", "bad.jsonl"], "bad.jsonl, line 2: no JSON"),
        (["try", "exact", "--file", "empty.jsonl"], "empty.jsonl: no rows"),
        (["try", "exact", "--file", "wrong.jsonl"], "wrong.jsonl, line 1: expected 'completion' as text, got None"),
        (["plugin", "check", "none.py:x"], "no file"),
    ],
)
def test_bad_input_is_one_message(here, capfd, arguments, told):
    (here / "bad.jsonl").write_text('{"completion": "x"}\n{"completion"\n')
    (here / "empty.jsonl").write_text("\n")
    (here / "wrong.jsonl").write_text('{"prompt": "x"}\n')
    status, _, err = ran(capfd, *arguments)
    assert status == 2
    assert told in err
    assert "Traceback" not in err

"""The benchmarks measure what they say, on fakes: shapes, turns, the table and the last line. No timing."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import run
from benchmarks.fake_engine import DIGEST, FakeEngine, text
from benchmarks.measure import Result, Series, config, in_turn
from rltrain.rollouts.spec import EngineSpec
from rltrain.types import Sampling, Task, Ticket

ROOT = Path(__file__).parent.parent


def ticket(number=0, samples=3):
    return Ticket(number, Task("a/0", "a", "structured", ()), np.arange(4), samples, Sampling(), 0, version=2)


def fake(tokens=16):
    engine = FakeEngine(EngineSpec("", "", "float32", 64, name="engine-5", args={"tokens": tokens}))
    assert engine.load(2, iter(())) == DIGEST
    return engine


def test_everyone_has_a_turn_each_round_and_the_first_changes():
    order, ticks = [], []
    found = in_turn({n: lambda n=n: order.append(n) or len(order) for n in "abc"}, 2, ticks.append, warmup=1)
    assert order == ticks == [*"abc", *"bca", *"cab"]
    assert found == {"a": [6, 8], "b": [4, 9], "c": [5, 7]}


def test_a_fake_engine_hands_back_what_a_ticket_asks_for():
    engine = fake()
    engine.submit(ticket(7))
    [(number, completions)] = engine.poll()
    assert number == 7 and len(completions) == 3 and engine.unfinished() == 0
    for completion in completions:
        assert len(completion.token_ids) == len(completion.logprobs) == 16
        assert "".join(completion.token_text()) == completion.text
        assert (completion.policy_version, completion.weight_digest) == (2, DIGEST)


def test_a_fake_text_has_plans_and_a_form():
    from diagnostics.formats import RuleFormats
    from diagnostics.taggers import LexiconTagger

    said = text(256, random.Random(0))
    assert len(said) > 4 * 256 and LexiconTagger().spans(said) and RuleFormats().format(said) == "prose"


def test_a_fake_engines_process_stays_light():
    code = (
        "import sys, benchmarks.fake_engine, rltrain.rollouts.server; print(*{'torch', 'vllm', 'ray'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_the_driver_makes_steps_with_pools_that_answer_at_once(tmp_path, monkeypatch):
    from benchmarks import driver
    from rltrain.records import RunDir, load_run
    from rltrain.scoring import bind, score

    class Pool:
        def __init__(self):
            self.tickets, self.engine = {}, fake(tokens=8)

        def submit(self, tickets):
            self.tickets |= {t.id: t for t in tickets}
            for t in tickets:
                self.engine.submit(t)
            self.engine.load(0, iter(()))

        def wait(self, timeout_s):
            done = self.engine.poll() if self.engine.unfinished() else []
            return [(self.tickets[number], completions) for number, completions in done]

    class Scoring:
        def __init__(self):
            self.groups, self.rewards = [], bind(config().rewards)

        def submit(self, group):
            self.groups.append(group)

        def ready(self, timeout_s):
            import dataclasses

            groups, self.groups = self.groups, []
            return [dataclasses.replace(g, scores=score(self.rewards, g)) for g in groups]

    monkeypatch.setattr(driver, "GROUPS", 3)
    monkeypatch.setattr(driver, "TOKENS", 8)
    directory = RunDir.create(tmp_path / "run", "", {})
    tasks = [Task(f"a/{i}", "a", "structured", ({"role": "user", "content": "1 + 1"},), "2") for i in range(3)]
    seconds = driver.Driver(Pool(), Scoring(), directory).step(1, tasks)
    assert len(seconds) == 3 and 0 < seconds[2] < seconds[0] and seconds[1] > 0
    directory.close()
    assert len(load_run(tmp_path / "run").rollouts()) == 3 * driver.SAMPLES


def test_rows_of_the_trainer_are_ragged_and_the_same_each_time():
    from benchmarks.trainer import COMPLETION, PROMPT, bare_pass, equal_passes, ragged_rows

    rows, again = ragged_rows(32), ragged_rows(32)
    assert all((a.completion_ids == b.completion_ids).all() for a, b in zip(rows, again, strict=True))
    lengths = {len(row.completion_ids) for row in rows}
    assert len(lengths) > 10 and min(lengths) >= COMPLETION[0] and max(lengths) <= COMPLETION[1]
    tokens = sum(row.length for row in rows)
    assert sum(bare_pass([row])[0].numel() for row in rows) == tokens
    passes = equal_passes(rows, 8)
    assert len(passes) == 4 and len({ids.shape for ids, _ in passes}) == 1
    assert tokens - 2 * len(rows) < sum(ids.numel() for ids, _ in passes) <= tokens
    assert passes[0][0].shape[1] >= PROMPT[0] + COMPLETION[0]


def test_the_last_line_names_every_figure_and_the_file_holds_the_raw_numbers(tmp_path, monkeypatch, capsys):
    made = Result({"pool_ratio": 0.98}, {"one": Series("s", [1.0, 3.0, 2.0])}, {"completions": 8})
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "measured", lambda name, repeats: made)
    run.main(["pool", "--repeats", "3"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert json.loads(lines[-1]) == dict.fromkeys(run.TARGETS) | {"pool_ratio": 0.98}
    assert any("at least 0.97" in line for line in lines)
    [file] = tmp_path.glob("*.json")
    kept = json.loads(file.read_text())
    assert kept["benchmarks"]["pool"]["series"]["one"] == {"unit": "s", "values": [1.0, 3.0, 2.0]}
    assert kept["manifest"]["machine"] and kept["figures"]["pool_ratio"] == 0.98


@pytest.mark.parametrize("arguments, said", [(["speed"], "there are driver"), (["--repeats", "0"], "at least 1")])
def test_a_wrong_request_is_refused_in_words(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_a_trainer_is_paced_step_by_step_and_ended_in_the_middle():
    from benchmarks.step_time import Paced

    class Trainer:
        steps = 0

        def add_callback(self, callback):
            self.callback = callback

        def train(self):
            while True:
                self.callback.on_step_begin(None, None, None)
                self.steps += 1

    trainer = Trainer()
    paced = Paced(trainer, trainer.train)
    assert trainer.steps == 0
    assert paced.step() >= 0 and trainer.steps == 1
    paced.step()
    paced.stop()
    assert trainer.steps == 2 and not paced._thread.is_alive()


def test_what_ends_a_paced_trainer_is_raised_where_it_is_waited_for():
    from benchmarks.step_time import Paced

    class Trainer:
        def add_callback(self, callback):
            pass

    def train():
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        Paced(Trainer(), train)


def test_the_diagnostics_are_switched_and_their_seconds_counted(monkeypatch):
    from synthetic import record

    from benchmarks import diagnostics_cost as cost

    assert [spec.args["name"] for spec in cost.settings().diagnostics] == list(cost.DIAGNOSTICS)
    spans, forms, measures = cost.Spans(), cost.Forms(), cost.Measures("reward")
    found = [(spans.spans("first, we need to add"), forms.format("1. a\n2. b"), measures.observe(record(1)))]
    assert cost.SWITCH.seconds > 0 and all(found[0])
    monkeypatch.setattr(cost.SWITCH, "on", False)
    before = cost.SWITCH.seconds
    assert (spans.spans("first, we need to add"), forms.format("1. a"), measures.observe(record(1))) == (
        [],
        "other",
        {},
    )
    assert cost.SWITCH.seconds == before
    figures = cost.result([10.0, 12.0], [10.0, 10.0], [0.1, 0.12], [20.0]).figures
    assert figures == pytest.approx({"diagnostics_share": 0.01, "diagnostics_ratio": 1.1})
    assert figures.keys() <= run.TARGETS.keys()


def test_a_long_table_is_written_by_parts_and_read_back(tmp_path, monkeypatch):
    from benchmarks import diagnose_scale as scale
    from rltrain.records.rebuild import step_records

    monkeypatch.setattr(scale, "VARIANTS", 2)
    monkeypatch.setattr(scale, "ROW_GROUP", 2)
    tokens = scale.write(tmp_path / "long.parquet", 3 * scale.STEP + 5)
    notes: dict[str, int] = {}
    records = list(step_records([tmp_path / "long.parquet"], None, notes))
    assert [record.step for record in records] == [1, 2, 3] and notes == {}
    read = [c for record in records for _, _, c, arrays in record.completions() if arrays is not None]
    assert len(read) == 3 * scale.STEP and sum(len(c.token_ids) for c in read) == tokens

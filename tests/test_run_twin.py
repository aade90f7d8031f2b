"""Whole runs on the twin: real Ray, real rewards, real versions and ratios; faults, lag, resume."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from rltrain import checkpoint, cli, config, launch, load_run, metrics

BASE = ["run.console=false", "run.report_to=[tensorboard]", "evaluation.prompts=4"]
BASE += ["checkpoints.every=4", "checkpoints.keep=9"]


@pytest.fixture(scope="module")
def runs(ray_session, tmp_path_factory):
    """Runs a twin of the quickstart in one place; the same order is run once."""
    root, done, numbers = tmp_path_factory.mktemp("twin"), {}, itertools.count()

    def run(*overrides: str, faults: tuple[str, ...] = (), resume: Path | None = None) -> Path:
        order = (overrides, faults, resume)
        if order not in done:
            directory = resume or root / f"run-{next(numbers)}"
            loaded = config.load("quickstart", [*BASE, *overrides, f"run.dir={directory}"])
            launch.train(loaded, "quickstart", resume=None if resume is None else "", twin=True, faults=faults)
            done[order] = directory
        return done[order]

    return run


@pytest.fixture(scope="module")
def resumed(runs, tmp_path_factory):
    """The same run gone on with in a copy, as if it had been killed while its checkpoint of step 12 was written."""
    done = {}

    def again(*overrides: str) -> Path:
        if overrides not in done:
            copy = tmp_path_factory.mktemp("resumed") / "run"
            shutil.copytree(runs(*overrides), copy)
            newest = checkpoint.path_of(copy / "checkpoints", 12) / "model.safetensors"
            newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
            assert [found.step for found in checkpoint.whole(copy / "checkpoints")] == [4, 8]
            shutil.rmtree(copy / "model")
            done[overrides] = runs(*overrides, resume=copy)
        return done[overrides]

    return again


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model" / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def trained(run: Path) -> pd.DataFrame:
    rows = load_run(run).rollouts()
    return rows[rows.admitted]


def test_a_run_leaves_behind_what_the_design_says(runs):
    run = runs()
    for name in ("config.yaml", "manifest.json", "metrics.jsonl", "events.jsonl", "report.html", "model/config.json"):
        assert (run / name).exists(), name
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(13))
    names = {name for line in lines for name in line} - {"step"}
    assert metrics.undeclared(names) == []
    assert {"reward/mean", "entropy/gap", "drift/kl_sampler_trainer", "eval/outcome", "time/rollout_s"} <= names
    assert len(trained(run)) == 12 * 16


def test_the_training_forward_sees_the_sampled_distribution(runs):
    rows = trained(runs())
    assert rows.policy_version.tolist() == (rows.step - 1).tolist()
    gaps = [np.abs(np.array(a) - np.array(b)).max() for a, b in zip(rows.logprob, rows.train_logprob, strict=True)]
    assert max(gaps) < 1e-4
    assert len(set(rows.weight_digest)) == 12  # one digest a version


def test_the_weights_move_and_the_final_model_loads(runs):
    from transformers import AutoModelForCausalLM

    from rltrain.models import locate

    run = runs()
    before = load_file(Path(locate("tiny")) / "model.safetensors")
    after = weights(run)
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert AutoModelForCausalLM.from_pretrained(run / "model").config.hidden_size == 64


@pytest.mark.parametrize("fault, cause", [("kill@3", "died"), ("hang@4", "hung"), ("stale@6", "stale")])
def test_a_fault_costs_nothing_but_time(runs, fault, cause):
    clean, run = runs(), runs("rollouts.deadline_s=2", faults=(fault,))
    events = [event for event in load_run(run).events if event.name == "engine_restarted"]
    assert [event.evidence["cause"] for event in events] == [cause]
    assert events[0].evidence["groups_redone"] > 0
    mine, theirs = trained(run), trained(clean)
    assert (
        not mine.duplicated(["step", "group", "task_key", "completion", "advantage"]).sum()
        > theirs.duplicated(["step", "group", "task_key", "completion", "advantage"]).sum()
    )
    assert mine.groupby("group").size().to_dict() == theirs.groupby("group").size().to_dict()
    assert same_weights(clean, run)


def test_nan_stops_before_the_optimizer_step(runs, tmp_path):
    with pytest.raises(launch.RunFailed, match=r"NonFinite.*step 7.*no weight was changed"):
        runs(f"run.name={tmp_path.name}", faults=("nan@7",))
    failed = sorted(Path(runs()).parent.glob("run-*"), key=lambda p: p.stat().st_mtime)[-1]
    whole = checkpoint.whole(failed / "checkpoints")
    assert [c.step for c in whole] == [4]
    clean = checkpoint.path_of(runs() / "checkpoints", 4) / "model.safetensors"
    assert (whole[0].path / "model.safetensors").read_bytes() == clean.read_bytes()


GUARD = "advantages.guard={min_visits: 1, lucky_below: 0.9, confidence: 0.6}"  # of so small groups it is strict
LAGS = {
    "synchronous": (),
    "one batch ahead, a reference that moves along": (
        *("rollouts.max_lag=1", "training.beta=0.5"),
        "training.trl={sync_ref_model: true, ref_model_sync_steps: 3}",
    ),
    "two engines, two batches ahead": ("rollouts.max_lag=2", "rollouts.engines=2"),
    "two updates a batch, prompts by difficulty": (
        *("training.updates_per_rollout=2", "training.old_logprobs=recompute", "admission.zero_variance=drop"),
        *("curriculum={use: 'curricula.difficulty:Difficulty', probe_every: 3}", GUARD),
        "admission.oversample=1.5",
    ),
}


AHEAD = LAGS["one batch ahead, a reference that moves along"]


@pytest.mark.parametrize("overrides", LAGS.values(), ids=LAGS)
def test_resume_is_bit_equal(runs, resumed, overrides):
    whole, again = runs(*overrides), resumed(*overrides)
    assert same_weights(whole, again)
    lines = [json.loads(line)["step"] for line in (again / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(range(13))
    columns = ["step", "group", "task_key", "completion", "outcome", "advantage", "policy_version"]
    pd.testing.assert_frame_equal(
        trained(whole)[columns].reset_index(drop=True), trained(again)[columns].reset_index(drop=True)
    )
    assert [event.name for event in load_run(again).events].count("resumed") == 1
    withheld = [files.metrics.get("advantage/withheld") for files in (load_run(whole), load_run(again))]
    assert (withheld[0] is None) != (GUARD in overrides)
    assert withheld[0] is None or (withheld[0].equals(withheld[1]) and withheld[0].max() > 0)
    pd.testing.assert_frame_equal(load_run(whole).curriculum(), load_run(again).curriculum())


def test_a_lag_is_what_it_says(runs):
    rows = load_run(runs(*AHEAD)).metrics
    assert rows[rows.step == 1]["drift/lag"].item() == 0
    assert set(rows[rows.step > 1]["drift/lag"]) == {1.0}


def test_two_engines_sample_what_one_samples(runs):
    assert same_weights(runs(), runs("rollouts.engines=2"))


def test_a_torn_checkpoint_is_skipped(resumed):
    assert [found.step for found in checkpoint.whole(resumed() / "checkpoints")] == [
        4,
        8,
        12,
    ]  # saved when its step came
    (event,) = [event for event in load_run(resumed()).events if event.name == "checkpoint_torn"]
    assert event.evidence == {"removed": ["step_00012"]}


def damaged_seal(path: Path) -> None:
    (path / "whole.json").write_text("{}")


def blank(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(bytes(file.stat().st_size))


def other_state(path: Path) -> None:
    file = path / checkpoint.STATE
    file.write_bytes(b"x" * file.stat().st_size)


@pytest.mark.parametrize("damage", [damaged_seal, blank, other_state])
def test_a_checkpoint_damaged_at_its_size_is_not_whole(runs, tmp_path, damage):
    shutil.copytree(runs() / "checkpoints", tmp_path / "checkpoints")
    damage(checkpoint.path_of(tmp_path / "checkpoints", 12))
    assert [c.step for c in checkpoint.whole(tmp_path / "checkpoints")] == [4, 8]
    assert checkpoint.clear(tmp_path / "checkpoints") == ["step_00012"]


@pytest.mark.parametrize(
    "change, said",
    [
        ("run.seed=7", "run.seed was 0, is 7"),
        ("model.lora={rank: 4}", "model.lora"),
        ("training.trl={epsilon: 0.3}", "training.trl"),
        ("training.steps=3", "has done 12; give more to go on"),
    ],
)
def test_a_run_goes_on_as_what_it_was(runs, tmp_path, change, said):
    shutil.copytree(runs(), tmp_path / "copy")
    before = (tmp_path / "copy" / "metrics.jsonl").read_bytes()
    loaded = config.load("quickstart", [*BASE, change, f"run.dir={tmp_path / 'copy'}"])
    with pytest.raises(ValueError, match=said):
        launch.train(loaded, "quickstart", resume="", twin=True, faults=())
    assert (tmp_path / "copy" / "metrics.jsonl").read_bytes() == before


def test_a_run_that_never_began_leaves_its_name_free(tmp_path):
    (tmp_path / "mine.txt").write_text("the person's own")
    wanted = ["rollouts.engine=transformers", "rollouts.gpus=1", "distributed.gpus=1", "model.path=tiny"]
    loaded = config.load("quickstart", [*BASE, *wanted, f"run.dir={tmp_path}"])
    with pytest.raises(ValueError, match="Ray has 0"):
        launch.train(loaded, "quickstart", resume=None, twin=False, faults=())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_groups_without_variance_are_replaced_not_trained(runs):
    run = runs("admission.zero_variance=drop", "tasks.0.name=chain_sum")
    rows = load_run(run).rollouts()
    rejected = rows[~rows.admitted]
    assert set(rejected.reject_reason) == {"zero variance in outcome"}
    spread = rows[rows.admitted].groupby(["step", "group"]).outcome.agg(lambda x: x.max() - x.min())
    assert (spread > 0).all()
    assert rejected.train_logprob.isna().all()
    refused = load_run(run).metrics["curriculum/rejected@zero variance in outcome"].sum()
    assert refused == len(rejected.groupby(["step", "group"]))
    assert (load_run(run).metrics.set_index("step").loc[1:, "curriculum/kept"] == 4).all()


@pytest.mark.parametrize(
    "extra",
    [("model.lora={rank: 4}", "training.steps=3"), ("training.loss=vespo", "training.steps=3"), AHEAD],
    ids=["lora", "vespo", "reference"],
)
def test_other_ways_to_train(runs, extra):
    run = runs(*extra)
    lines = load_run(run).metrics
    assert lines["loss/grad_norm"].dropna().gt(0).all()
    if "lora" in extra[0]:
        assert (run / "model" / "adapter" / "adapter_config.json").exists()
        assert (run / "model" / "model.safetensors").exists()
    if extra == AHEAD:
        assert lines["loss/kl"].iloc[-1] >= 0


def test_prompts_over_the_length_are_an_error_when_so_ordered(runs, monkeypatch):
    from rltrain import twin

    monkeypatch.setattr(twin, "PROMPT_TOKENS", 40)
    with pytest.raises(ValueError, match=r"max_prompt_length 40.*are too long; raise it"):
        runs("sampling.long_prompts=error", "run.seed=1")


ENGINES = {
    "two engines, two batches ahead": (("rollouts.max_lag=2", "rollouts.engines=2"), ()),
    "two engines": (("rollouts.engines=2",), ()),
    "killed": (("rollouts.deadline_s=2",), ("kill@3",)),
    "hung": (("rollouts.deadline_s=2",), ("hang@4",)),
}


@pytest.mark.parametrize("overrides, faults", ENGINES.values(), ids=ENGINES)
def test_an_engine_s_seconds_add_up_to_the_wall_clock(runs, overrides, faults):
    """Every engine's four activities cover the same time, which is at least what the loop's stages took."""
    frame = load_run(runs(*overrides, faults=faults)).metrics.set_index("step")
    names = sorted({column.partition("@")[2] for column in frame if column.startswith("engine/")})
    assert names == [f"engine-{i}" for i in range(2 if "rollouts.engines=2" in overrides else 1)]
    seconds = {
        name: frame[[f"engine/{doing}_s@{name}" for doing in ("generating", "loading", "idle", "starting")]]
        for name in names
    }
    for name, spent in seconds.items():
        assert spent.notna().all().all() and (spent >= 0).all().all()
        assert spent.sum().gt(0).all(), f"{name}: {spent.sum()}"
        assert spent.sum().sum() >= frame["time/step_s"].sum() - 1
        assert (frame[f"engine/tokens_per_s@{name}"].dropna() > 0).all()
        later = spent.loc[1:, f"engine/starting_s@{name}"].sum()
        assert (later > 0) == bool(faults), "only an engine that was lost is started again"
    whole = [spent.sum().sum() for spent in seconds.values()]
    assert max(whole) - min(whole) < 1


HARMFUL = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\x1b[2J\x1b[31m", "\u202eabc\u2066\u200f")


def test_answers_made_to_do_harm_go_through_a_run_as_text(runs, tmp_path, capsys, monkeypatch):
    """The twin says the gold answer or a corrupted one: the completions have them."""
    rows = [{"prompt": f"What is {i}? {HARMFUL[i % 4]}", "answer": HARMFUL[i % 4]} for i in range(24)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = f"tasks=[{{use: file, name: harm, held_out: 0.2, args: {{path: {path}}}}}]"
    run = runs(source, "rewards=[{use: exact}]", "training.steps=4")
    shown = capsys.readouterr().out
    assert "step 4/4" in shown and "\x1b" not in shown and "\u202e" not in shown
    frame = load_run(run).rollouts()
    assert frame.attrs["replaced"] == 0
    for text in HARMFUL:
        assert frame.completion.str.contains(text, regex=False).any(), text
    rebuilt = ["".join(pieces) for pieces in frame.token_text]
    assert rebuilt == frame.completion.tolist()
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli.main(["status", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "step 4/4" in shown and "\x1b[2J" not in shown and "\u202e" not in shown


def test_tensorboard_has_the_curves_under_their_names(runs, resumed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run in (runs(), resumed()):  # steps that come again replace what was written of them
        read = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
        frame = load_run(run).metrics.set_index("step")
        told = {name for name in read.Tags()["scalars"] if read.Scalars(name)}  # a tag outlives what was taken back
        assert told == set(frame.columns)
        for name in ("reward/mean", "entropy/mean", "engine/idle_s@engine-0", "eval/outcome"):
            known = frame[name].dropna()
            found = {scalar.step: scalar.value for scalar in read.Scalars(name)}
            assert list(found) == list(known.index) and np.allclose(list(found.values()), known, rtol=1e-6)

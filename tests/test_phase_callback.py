"""The diagnostics inside a plain GRPO script of TRL: real trainers on the tiny model, no mocks."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from rltrain import PhaseCallback, cli, load_run
from rltrain.models import load_model, load_tokenizer
from rltrain.trainer import GRPOConfig, GRPOTrainer

STEPS = 3
PROMPTS = [f"What is {i} + 1?" for i in range(6)]


def short(completions, **_):
    """An outcome that a completion has whenever it is sampled again."""
    return [worth(text) for text in completions]


def worth(text: str) -> float:
    return float(len(text.encode()) % 3 == 0)


def bytes_used(completions, **_):
    return [len(text.encode()) / 100 if len(text) % 2 else None for text in completions]


def script(folder: Path, kind: type = GRPOTrainer, rewards=(short,), **arguments) -> GRPOTrainer:
    """What a plain script builds: two prompts x four completions a step, in two micro-batches."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "max_steps": STEPS,
    }
    given |= {"max_completion_length": 12, "learning_rate": 1e-3, "save_strategy": "no", "logging_steps": 1}
    given |= {"report_to": [], "use_cpu": True, "bf16": False, "disable_tqdm": True, "output_dir": str(folder)}
    return kind(
        model=load_model("tiny", "float32"),
        reward_funcs=list(rewards),
        args=GRPOConfig(**given | arguments),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS, "source": ["odd", "even"] * 3}),
        eval_dataset=Dataset.from_dict({"prompt": PROMPTS[:4]}),  # asked for by `eval_strategy` alone
        processing_class=load_tokenizer("tiny"),
    )


def watched(folder: Path, kind: type = GRPOTrainer, rewards=(short,), options=None, **arguments) -> GRPOTrainer:
    trainer = script(folder, kind, rewards, **arguments)
    trainer.add_callback(PhaseCallback(trainer, **options or {}))
    return trainer


def verdicts(folder: Path) -> dict:
    return json.loads((folder / "diagnosis.json").read_text())


def told(found: dict) -> list[str]:
    """The notes but that of the phase, which has too few steps in all of these runs."""
    return [note for note in found["notes"] if not note.startswith("phase: undecided")]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> GRPOTrainer:
    trainer = watched(tmp_path_factory.mktemp("callback") / "trl")
    trainer.train()
    return trainer


def place(trainer: GRPOTrainer, number: int = 1) -> Path:
    return Path(trainer.args.output_dir) / f"diagnosis-{number:03d}"


def test_the_metrics_are_in_the_trainers_logs_and_agree_with_trls_own(run):
    logged = [line for line in run.state.log_history if "entropy" in line]
    written = load_run(place(run)).metrics.set_index("step")
    assert [line["step"] for line in logged] == written.index.tolist() == [1, 2, 3]
    for line in logged:
        assert line["reward/mean"] == line["reward/outcome"] == pytest.approx(line["reward"])
        assert {"reward/mean@odd", "reward/mean@even"} & line.keys()
        assert line["length/mean"] == pytest.approx(line["completions/mean_length"])
        assert line["length/truncated_frac"] == pytest.approx(line["completions/clipped_ratio"])
        assert line["entropy/mean"] == pytest.approx(
            line["entropy"], rel=0.2
        )  # TRL's is a mean of micro-batches' means
        for name in ("entropy/mean", "format/effective", "shortcut/completions", "plan/ratio"):
            assert line[name] == written.loc[line["step"], name], name


def test_it_leaves_a_run_behind_and_after_the_fact_the_numbers_are_the_same(run, tmp_path):
    found = verdicts(place(run))
    assert {step for pairs in found["series"].values() for step, _ in pairs} == {1, 2, 3}
    assert {"phase", "format", "shortcuts"} & found.keys() and (place(run) / "report.html").stat().st_size > 100_000
    assert told(found) == ["off: drift (without vLLM TRL keeps no log-probs of the sampler)"]
    assert cli.main(["diagnose", str(place(run)), "--out", str(tmp_path / "out")]) == 0
    later = verdicts(tmp_path / "out")["series"]
    for name, pairs in found["series"].items():
        if name != "time/diagnostics_s":
            assert dict(later[name]) == pytest.approx(dict(pairs), abs=1e-6), name


def test_rewards_advantages_and_tokens_meet_in_the_right_rows(run):
    """TRL shuffles between judging and training."""
    frame = load_run(place(run)).rollouts()
    assert len(frame) == 8 * STEPS and frame.groupby(["step", "group"]).size().eq(4).all()
    assert frame.groupby(["step", "group"]).prompt.nunique().eq(1).all()
    assert frame.reward.tolist() == frame.outcome.tolist() == [worth(text) for text in frame.completion]
    assert frame.reward.nunique() == 2 and frame.source.nunique() == 2
    for _, group in frame.groupby(["step", "group"]):
        centred = group.reward - group.reward.mean()
        assert group.advantage.tolist() == pytest.approx((centred / (group.reward.std() + 1e-4)).tolist(), abs=1e-5)
    for row in frame.itertuples():
        assert len(row.token_ids) == len(row.train_logprob) == len(row.entropy) == len(row.token_text)
        assert "".join(row.token_text) == row.completion and (row.train_logprob < 0).all() and (row.entropy > 0).all()


class Counting(GRPOTrainer):
    """Counts the forwards that score a batch, and keeps what they saw."""

    forwards = 0

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **kwargs
    ):
        self.forwards += 1
        return super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
        )


def test_it_costs_no_forward_and_changes_no_bit_of_what_is_learned(tmp_path):
    plain, heard = script(tmp_path / "a", Counting), watched(tmp_path / "b", Counting)
    for trainer in (plain, heard):
        torch.manual_seed(1)
        trainer.train()
    assert heard.forwards == plain.forwards == 2 * STEPS
    for ours, theirs in zip(heard.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class OtherLoss(GRPOTrainer):
    def _compute_loss(self, model, inputs, flavour="plain"):
        return super()._compute_loss(model, inputs)


class OtherRewards(GRPOTrainer):
    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list, bonus=0.0):
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)


class OwnLoss(GRPOTrainer):
    """Computes its loss without the hook for log-probs."""

    def _compute_loss(self, model, inputs):
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        return model(input_ids=ids).logits.float().mean()


CASES = {
    OtherLoss: ("OtherLoss._compute_loss takes", {"reward/mean", "format/effective"}, {"entropy/mean"}),
    OtherRewards: ("OtherRewards._calculate_rewards takes", {"entropy/mean", "plan/ratio"}, {"reward/mean"}),
    OwnLoss: ("the loss did not ask for log-probs", {"reward/mean", "format/effective"}, {"entropy/mean"}),
}


@pytest.mark.parametrize("kind", CASES)
def test_where_a_hook_is_missing_it_says_what_is_off_and_measures_the_rest(kind, tmp_path, caplog):
    said, there, off = CASES[kind]
    trainer = watched(tmp_path, kind, max_steps=1, beta=0.0)
    trainer.train()
    found = verdicts(place(trainer))
    assert there <= found["series"].keys() and not off & found["series"].keys()
    (note,) = (note for note in found["notes"] if said in note)
    assert note.startswith("off: ") and note in caplog.messages


def test_several_rewards_and_several_updates_a_generation(tmp_path):
    updates = {"max_steps": 4, "num_iterations": 2, "reward_weights": [1.0, 0.5], "logging_steps": 2}
    trainer = watched(tmp_path, rewards=[short, bytes_used], options={"outcome": "short"}, **updates)
    trainer.train()
    frame = load_run(place(trainer)).rollouts()
    assert frame.groupby("step").size().tolist() == [8] * 4
    assert set(frame[frame.step == 1].completion) == set(frame[frame.step == 2].completion)
    assert frame.outcome.tolist() == [worth(text) for text in frame.completion]
    wanted = [worth(text) + 0.5 * (bytes_used([text])[0] or 0.0) for text in frame.completion]
    assert frame.reward.tolist() == pytest.approx(wanted, abs=1e-6)
    assert all((row.ratio == 1).all() for row in frame[frame.step == 1].itertuples())
    assert any((row.ratio != 1).any() for row in frame[frame.step == 2].itertuples())
    logged = [line for line in trainer.state.log_history if "reward/mean" in line]
    assert [line["step"] for line in logged] == [2, 4]
    assert any("num_iterations 2: each completion is in as many steps" in n for n in verdicts(place(trainer))["notes"])


def test_of_trls_own_tables_each_generation_counts_once_and_evaluations_do_not(tmp_path):
    """TRL writes a generation at both of its steps, and an evaluation over the completions of its step."""
    trainer = watched(
        tmp_path / "trl", num_iterations=2, max_steps=6, log_completions=True, num_completions_to_print=0,
        eval_strategy="steps", eval_steps=3, per_device_eval_batch_size=4, save_strategy="steps", save_steps=6,
    )  # fmt: skip
    trainer.train()
    cli.main(["diagnose", str(tmp_path / "trl"), "--out", str(tmp_path / "after")])
    of_tables, live = (dict(verdicts(of)["series"]["reward/mean"]) for of in (tmp_path / "after", place(trainer)))
    assert sorted(live) == [1, 2, 3, 4, 5, 6]
    assert of_tables == {step: pytest.approx(live[step]) for step in (1, 5)}  # 2, 4 are 1, 3 again; 3, 6 evaluations
    notes = verdicts(tmp_path / "after")["notes"]
    assert any("of an evaluation, which TRL writes over those of its step: left out" in note for note in notes)
    assert any("those of the step before once more" in note for note in notes)
    assert [step for step, _ in verdicts(tmp_path / "after")["series"]["loss/grad_norm"]] == [1, 2, 3, 4, 5, 6]


def test_groups_that_trl_scatters_over_steps_are_noted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        PhaseCallback(script(tmp_path, steps_per_generation=4))
    assert any("steps_per_generation 4, more than gradient_accumulation_steps" in text for text in caplog.messages)
    caplog.clear()
    PhaseCallback(script(tmp_path))
    assert not any("steps_per_generation" in text for text in caplog.messages)


def right_or_wrong(completions, **_):
    return [2 * worth(text) - 1 for text in completions]


def test_a_reward_of_minus_one_and_one_is_no_outcome(tmp_path):
    """Of the outcomes only the successes would be left: every completion would be right."""
    trainer = watched(tmp_path, rewards=[right_or_wrong], max_steps=1)
    trainer.train()
    found = verdicts(place(trainer))
    assert "reward/mean" in found["series"] and not {"reward/outcome", "format/accuracy"} & stems(found)
    assert any("no outcome: right_or_wrong gave -1 and a task's result is in [0, 1]" in note for note in found["notes"])


def endless(completions, **_):
    return [math.inf if worth(text) else 1.0 for text in completions]


def test_an_infinite_reward_is_a_failed_score(tmp_path):
    trainer = watched(tmp_path, rewards=[endless], max_steps=1)
    trainer.train()
    found = verdicts(place(trainer))
    ((_, rate),) = found["series"]["reward/error_rate"]
    assert 0 < rate < 1 and found["series"]["reward/mean"] == [[1, 1.0]]
    assert any("NaN or infinite rewards: such scores count as failed" in note for note in found["notes"])


def stems(found: dict) -> set[str]:
    return {name.partition("@")[0] for name in found["series"]}


def test_a_resumed_script_goes_on_where_it_was(tmp_path):
    watched(tmp_path, save_strategy="steps", save_steps=2, max_steps=2).train()
    first = verdicts(tmp_path / "diagnosis-001")["series"]
    again = watched(tmp_path, save_strategy="steps", save_steps=2, max_steps=3)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    series = verdicts(tmp_path / "diagnosis-001")["series"]
    assert [step for step, _ in series["reward/mean"]] == [1, 2, 3] and not (tmp_path / "diagnosis-002").exists()
    assert series["entropy/mean"][:2] == first["entropy/mean"]
    assert "entropy/spent" not in first and "ppl/execution_rel" in series
    assert series["ppl/execution_rel"][0][1] == 1.0 and series["ppl/execution_rel"][2][1] != 1.0  # the start was kept
    (tmp_path / "checkpoint-2" / "rltrain_diagnostics.pkl").unlink()
    anew = watched(tmp_path, max_steps=3)
    anew.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    found = verdicts(tmp_path / "diagnosis-001")
    assert found["series"]["ppl/execution_rel"][2] == [3, 1.0] and "they begin anew" in told(found)[-2]


def test_a_doubt_about_the_outcome_outlives_a_resume(tmp_path):
    once = [-1.0]

    def mostly(completions, **_):
        return [once.pop() if once else worth(text) for text in completions]

    watched(tmp_path, rewards=[mostly], save_strategy="steps", save_steps=1, max_steps=1).train()
    again = watched(tmp_path, rewards=[mostly], max_steps=2)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    found = verdicts(tmp_path / "diagnosis-001")
    assert "reward/outcome" not in stems(found) and [step for step, _ in found["series"]["reward/mean"]] == [1, 2]
    assert any("no outcome: its reward left [0, 1] before the checkpoint" in note for note in found["notes"])


class Sampled(GRPOTrainer):
    """Keeps log-probs of its sampler, as TRL does with vLLM: here those of a fair choice among 256 bytes."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        fair = torch.full(output["completion_ids"].shape, -math.log(256))
        fair[0, 0] = math.nan  # what vLLM could not score
        return output | {"sampling_per_token_logps": fair}


def test_another_run_of_the_script_takes_the_next_number_and_a_taken_place_is_refused(run, tmp_path):
    folder = Path(run.args.output_dir)
    watched(folder, Sampled, max_steps=1).train()
    found = verdicts(folder / "diagnosis-002")
    assert found["series"]["reward/mean"][0][0] == 1 and told(found) == []
    frame = load_run(folder / "diagnosis-002").rollouts()
    known = [p for row in frame.itertuples() for p in row.logprob if not math.isnan(p)]
    assert known == pytest.approx([-math.log(256)] * (8 * 12 - 1))
    ratios = np.concatenate([np.exp(row.train_logprob - row.logprob) for row in frame.itertuples()])
    assert found["series"]["drift/ratio_max"][0][1] == pytest.approx(np.nanmax(ratios), rel=1e-5)
    assert "drift/truncated_frac" not in found["series"]
    with pytest.raises(ValueError, match="holds a run already; give another directory"):
        watched(tmp_path, options={"out": place(run)}, max_steps=1).train()


@pytest.mark.parametrize(
    ("out", "places"), [(None, ("diagnosis-001", "diagnosis-002")), ("mine", ("mine", "mine-001"))]
)
def test_training_again_is_a_run_of_its_own(tmp_path, out, places):
    trainer = watched(tmp_path, options={"out": out and tmp_path / out}, max_steps=2)
    trainer.train()
    trainer.train()
    for folder in (tmp_path / name for name in places):
        series = verdicts(folder)["series"]
        assert [step for step, _ in series["entropy/mean"]] == [1, 2]
        assert series["ppl/execution_rel"][0] == [1, 1.0]  # each is held against its own start


def test_steps_of_which_no_token_is_trained_are_noted(tmp_path):
    trainer = watched(tmp_path, max_steps=1, mask_truncated_completions=True)
    trainer.train()
    found = verdicts(place(trainer))
    assert "entropy/mean" not in found["series"] and "reward/mean" in found["series"]
    assert any("no token is trained; with mask_truncated_completions" in note for note in found["notes"])


def test_what_it_cannot_work_with_is_refused_with_the_reason(tmp_path, caplog):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    with pytest.raises(ValueError, match=r"Trainer has none of the hooks .* expected TRL's GRPOTrainer"):
        PhaseCallback(Trainer(load_model("tiny", "float32"), arguments))
    trainer = script(tmp_path, rewards=[short, bytes_used])
    with pytest.raises(ValueError, match="outcome 'shorty'; did you mean 'short'"):
        PhaseCallback(trainer, outcome="shorty")
    with pytest.raises(ValueError, match=r"no such name in rltrain\.diagnostics"):
        PhaseCallback(trainer, diagnostics=["entropie"])
    with caplog.at_level(logging.WARNING):
        PhaseCallback(trainer)
    assert any("several reward functions; name the task's result by outcome=..." in m for m in caplog.messages)
    trainer.add_callback(PhaseCallback(script(tmp_path / "other")))
    with pytest.raises(ValueError, match=r"made with another trainer .* trainer\.add_callback\(PhaseCallback\(trainer"):
        trainer.train()

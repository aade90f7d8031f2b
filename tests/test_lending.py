"""What plugins ask for by parameter name: lent in a run to diagnostics and rewards, in `check`, and to nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import ray
import tiny
import torch

from rltrain import check, cli, config, launch, lending, load_run, metrics
from rltrain.check.sources import Tasks
from rltrain.check.verdicts import errors
from rltrain.forced import FrozenScorer, batches, given, judged, prompt_ids
from rltrain.models import load_model, load_tokenizer, render

PROMPT = ({"role": "user", "content": "1 + 3?"},)
LIKELY = '''
def likely(task, completion, scorer):
    """How likely a frozen model finds the completion, a token."""
    [logprob] = scorer.logprobs([task.prompt], [completion.text])
    return float(logprob.mean()) if len(logprob) else 0.0
'''
LENT = "diagnostics=[{use: reward}, {use: interference, args: {every: 2}}, {use: continuous}, {use: infogain}]"
REWARDS = "rewards=[{use: numeric, only: {kind: structured}}, {use: constraints, only: {kind: creative}}"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


# --- texts under a model -------------------------------------------------------------------------


def by_hand(model, prompt, continuation):
    """(T,) log-probs by one bare forward of one sequence."""
    ids = torch.tensor([[*prompt, *continuation]])
    with torch.no_grad():
        logp = model(input_ids=ids).logits[0].float().log_softmax(-1)
    at = range(len(prompt) - 1, ids.size(1) - 1)
    return np.array([float(logp[i, ids[0, i + 1]]) for i in at], np.float32)


def test_the_scorer_says_what_a_bare_forward_says_in_the_order_asked():
    scorer, tokenizer, model = FrozenScorer("tiny", batch_tokens=120), load_tokenizer("tiny"), load_model("tiny")
    opened = (*PROMPT, {"role": "assistant", "content": "Answer:"})
    prompts = ["Say: ", PROMPT, opened, PROMPT, "Say: "]
    texts = ["a", "4", " 4, and that at some length", "", "a longer one"]
    found = scorer.logprobs(prompts, texts)
    assert [len(logprob) for logprob in found] == [len(text) for text in texts]  # a byte is a token
    rendered = render(tokenizer, PROMPT)
    assert prompt_ids(tokenizer, lambda m: render(tokenizer, m), opened) == [*rendered, *b"Answer:"]
    heads = [list(b"Say: "), rendered, [*rendered, *b"Answer:"], rendered, list(b"Say: ")]
    for logprob, head, text in zip(found, heads, texts, strict=True):
        np.testing.assert_allclose(logprob, by_hand(model, head, text.encode()), atol=1e-5)


def test_a_prompt_without_a_token_is_refused_and_a_long_one_loses_its_beginning():
    tokenizer = load_tokenizer("tiny")
    with pytest.raises(ValueError, match="prompt 1 has no token"):
        FrozenScorer("tiny").logprobs(["a", ""], ["b", "b"])
    [row] = given(tokenizer, None, ["abcdef"], ["xy"], 5)
    assert bytes(row.prompt_ids.tolist()) == b"def" and bytes(row.completion_ids.tolist()) == b"xy"


def test_batches_hold_what_fits_with_padding():
    rows = given(load_tokenizer("tiny"), None, ["a" * n for n in (3, 9, 5, 2)], ["b", "b", "b", ""], None)
    assert [[row.key[0] for row in batch] for batch in batches(rows, 12)] == [[1], [2, 0]]
    assert [[row.key[0] for row in batch] for batch in batches(rows, 1)] == [[1], [2], [0]]


def test_the_policy_is_the_trainers_weights_at_temperature_one(tmp_path):
    from functools import partial

    from rltrain.channel import Channel
    from rltrain.forced import TrainedPolicy
    from rltrain.stages import Stages

    settings = tiny.config(sampling={"temperature": 0.5}, model={"lora": {"rank": 4, "dropout": 0.5}})
    trainer = tiny.trainer(settings, tmp_path)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    stages = Stages(60.0, print)
    made = partial(render, trainer.processing_class)
    policy = TrainedPolicy(trainer, Channel(1.0), made, stages, rows=2, longest=99)
    before = torch.get_rng_state()
    first, second, none = policy.forced([PROMPT, "Say: ", PROMPT], ["42", "a word", ""])
    assert torch.equal(torch.get_rng_state(), before)  # dropout is off: no draw, no noise
    trainer.model.eval()
    with torch.no_grad():
        np.testing.assert_allclose(first.logprob, by_hand(trainer.model, made(PROMPT), b"42"), atol=1e-5)
        np.testing.assert_allclose(second.logprob, by_hand(trainer.model, b"Say: ", b"a word"), atol=1e-5)
    assert len(none.logprob) == len(none.likeliest) == 0 and "time/policy_s" in stages.take()
    stages.close()


def test_what_logits_make_of_tokens():
    found = judged(np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])), np.array([1, 2]))
    np.testing.assert_allclose(np.exp(found.logprob), [0.25, 0.7], atol=1e-6)
    assert found.likeliest.tolist() == [False, True]


# --- in a run ------------------------------------------------------------------------------------


def twin(directory: Path, *overrides: str) -> Path:
    order = ["run.console=false", "evaluation.prompts=0", "training.steps=3", f"run.dir={directory}", *overrides]
    launch.train(config.load("quickstart", order), "quickstart", resume=None, twin=True, faults=())
    return directory


@pytest.fixture(scope="module")
def run(ray_session, tmp_path_factory) -> Path:
    """A twin in which a reward of weight 0 and three diagnostics are lent everything there is."""
    folder = tmp_path_factory.mktemp("lending")
    (folder / "likely.py").write_text(LIKELY)
    lent = f"{REWARDS}, {{use: '{folder}/likely.py:likely', role: shaping, weight: 0.0, timeout_s: 60}}]"
    return twin(folder / "run", LENT, lent)


def test_diagnostics_and_rewards_have_what_they_asked_for(run):
    lines = load_run(run).metrics.set_index("step")
    assert metrics.undeclared(lines.columns) == []
    assert lines["time/gradients_s"].notna().tolist() == [True, False, True]
    assert lines["time/scorer_s"].dropna().gt(0).any() and lines.loc[1, "time/policy_s"] > 0
    assert lines.loc[1, "continuous/prompts"] == 4 and lines.loc[1, "continuous/answer_logprob"] < 0
    shares = [name for name in lines if name.startswith("interference/gradient_share@")]
    assert lines.loc[[1, 3], shares].sum(axis=1).to_numpy() == pytest.approx([1, 1], abs=1e-5)
    assert lines["reward/value@likely"].dropna().between(-10, -1).all() and lines["reward/errors"].sum() == 0


def test_being_looked_at_changes_no_bit_of_the_weights(run, tmp_path):
    plain = twin(tmp_path / "plain", f"{REWARDS}]", "diagnostics=[{use: reward}]")
    files = [(place / "model" / "model.safetensors").read_bytes() for place in (run, plain)]
    assert files[0] == files[1]


def test_the_scorer_s_value_is_the_initial_model_s(run):
    rows = load_run(run).rollouts()
    row = rows[rows.step == 3].iloc[0]
    [logprob] = FrozenScorer("tiny").logprobs([json.loads(row.prompt)], [row.completion])
    assert json.loads(row["values"])["likely"] == pytest.approx(float(logprob.mean()), abs=1e-5)


def test_a_scorer_that_dies_is_started_again(ray_session):
    settings = tiny.config(
        diagnostics=[{"use": "diagnostics.infogain:InfoGainDiagnostic"}], scorer={"dtype": "float32"}
    )
    closers = []
    scorer = lending.scorer(settings, closers)
    scorer.ready()
    before = scorer.logprobs([PROMPT], ["4"])[0]
    ray.kill(scorer._actor, no_restart=False)
    assert np.array_equal(scorer.logprobs([PROMPT], ["4"])[0], before)
    [close] = closers
    close()


def test_after_the_fact_the_data_decide(run, tmp_path, capsys):
    arguments = ["diagnose", str(run), "--out", str(tmp_path / "out"), "--also", "infogain", "--scorer", "tiny"]
    assert cli.main(arguments) == 0
    found = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    online = json.loads((run / "diagnosis.json").read_text())["series"]
    for name in ("continuous/edit", "continuous/pass", "interference/gap@chain_sum"):
        np.testing.assert_allclose(found["series"][name], online[name], atol=1e-6)
    for name in ("infogain/total", "infogain/negative"):
        np.testing.assert_allclose(found["series"].get(name, []), online.get(name, []), atol=1e-4)
    assert "continuous/answer_logprob" not in found["series"]
    told = " ".join(found["notes"])
    assert "gradients exist only while a run trains" in told and "rollouts do not hold the weights" in told
    assert "gradients exist only" in capsys.readouterr().out


def test_a_diagnostic_that_is_not_there_is_refused(run, tmp_path, capfd):
    assert cli.main(["diagnose", str(run), "--out", str(tmp_path / "out"), "--also", "interferense"]) == 2
    assert "did you mean 'interference'?" in capfd.readouterr().err and not (tmp_path / "out").exists()


# --- in check ------------------------------------------------------------------------------------


def asking(**arguments):
    return [{"use": "diagnostics.interference:InterferenceDiagnostic", "args": arguments}]


def test_check_lends_without_a_model(tmp_path):
    (tmp_path / "likely.py").write_text(LIKELY)
    rewards = [{"use": "numeric"}, {"use": f"{tmp_path}/likely.py:likely", "role": "shaping"}]
    sections = check.look(tiny.config(diagnostics=asking(), rewards=rewards, rollouts={"engine": "transformers"}))
    told = "\n".join(line.text for section in sections for line in section.lines)
    assert errors(sections) == [] and "its scorer is not asked" in told
    assert "scorer tiny, bfloat16, in a process of its own, for reward" in told


def readers(**sections):
    return errors([check.trials.check_readers(tiny.config(**sections), Tasks({}, None, False), {})])


def test_check_names_layers_that_are_not_there():
    [wrong] = readers(diagnostics=asking(layers=["*.mpl.*"]))
    assert "no trained linear layer is called '*.mpl.*'" in wrong
    assert readers(diagnostics=asking(layers=["model.layers.1.mlp.up_proj"]), model={"lora": {"rank": 2}}) == []


def test_check_refuses_gradients_of_shards():
    shards = {"strategy": "fsdp2", "processes": 2, "gpus": 1.0}
    [wrong] = readers(diagnostics=asking(), distributed=shards, training={"micro_batch_size": 1})
    assert "asks for gradients" in wrong and "use ddp" in wrong
    assert readers(distributed=shards, training={"micro_batch_size": 1}) == []


def test_who_asks_for_what():
    settings = tiny.config(diagnostics=[{"use": "reward"}, *asking()])
    assert lending.askers(settings, "gradients") == ["diagnostic diagnostics.interference:InterferenceDiagnostic"]
    assert lending.askers(settings, "scorer") == [] and lending.scorer(settings, []) is None

"""What `rltrain check` says, and that what it refuses is refused before a run makes a directory."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from rltrain import check, config, launch, models
from rltrain.check import arguments, loss
from rltrain.check.memory import _from_name, trainer_bytes
from rltrain.check.verdicts import Section, errors
from rltrain.config import Config

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")


def settings(**sections) -> Config:
    """Two prompts x four completions on the tiny model; `section={key: value}` changes keys."""
    given = {
        "model": {"path": "tiny", "dtype": "float32"},
        "tasks": [{"use": "reasoning_gym", "args": {"generator": "chain_sum", "size": 60}, "held_out": 0.3}],
        "rewards": [{"use": "numeric", "args": {"extract": "answer"}}],
        "sampling": {"num_generations": 4, "max_completion_length": 16},
        "rollouts": {"engine": "transformers"},
        "training": {"steps": 4, "prompts_per_step": 2, "micro_batch_size": 4},
        "evaluation": {"prompts": 12, "num_generations": 4},
    }
    for name, section in sections.items():
        given[name] = given.get(name, {}) | section if isinstance(section, dict) else section
    return Config.model_validate(given)


def _shared(*, engines: int, processes: int, engine: float = 0.4, trainer: float = 0.6) -> dict:
    """Sections of engines that share the trainer processes' GPUs."""
    return {
        "rollouts": {"engines": engines, "gpus": engine},
        "distributed": {"processes": processes, "gpus": trainer},
        "training": {"micro_batch_size": 2},
    }


def lines(sections, verdict: str) -> str:
    return "\n".join(line.text for section in sections for line in section.lines if line.verdict == verdict)


def one(sections, title: str) -> Section:
    return next(section for section in sections if section.title == title)


def told(section: Section) -> str:
    return "\n".join(line.text for line in section.lines)


def test_a_sound_config_has_a_verdict_in_each_section(capsys):
    assert check.main(settings()) == 0
    out = capsys.readouterr().out
    for title in ("config", "tasks", "rewards", "curriculum", "diagnostics, tagger, formats", "model"):
        assert f"\n{title}\n" in f"\n{out}"
    for part in ("batch arithmetic", "placement", "memory, estimated", "loss, in words", "arguments of TRL"):
        assert part in out
    assert "rewards/numeric.py" in out.replace("\n", "")
    assert "2 prompts x 4 completions = 8 rows a step" in out
    assert "8 rows = 2 micro-batches x 4 rows x 1 process(es)" in out
    assert "0 error(s)" in out


def test_plugins_are_tried_on_a_real_row():
    sections = check.look(settings())
    assert "gold answer outcome 1, reward 1; empty outcome 0, reward 0" in told(one(sections, "rewards"))
    assert "sample, observe, admit, metrics and its state answer" in told(one(sections, "curriculum"))
    assert "prompts have up to" in told(one(sections, "model"))


PLUGINS = """
import time
def raises(task, completion): return 1 / len(completion.text)
def large(task, completion): return 7.0
def slow(task, completion): time.sleep(60)
def half(tasks, *, seed, inner=None): return Half()
class Half:
    def sample(self, n): return []
    def observe(self, groups): pass
    def admit(self, group): return None
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
    def metrics(self): return {}
class Words:
    def format(self, text): return 3
class Spans:
    def spans(self, text): return [(5, 5000)]
class Unheard:
    panels = ()
    def observe(self, record): return {"colour/blue": 1.0}
    def events(self): return []
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
"""


@pytest.mark.parametrize(
    ("sections", "error"),
    [
        ({"rewards": [{"use": "numric"}]}, "did you mean 'numeric'"),
        ({"rewards": [{"use": "numeric", "args": {"tolerence": 1}}]}, "did you mean 'tolerance'"),
        ({"rewards": [{"use": "PLUG:raises"}]}, "ZeroDivisionError"),
        ({"rewards": [{"use": "PLUG:large"}]}, "OutOfRange"),
        ({"rewards": [{"use": "PLUG:slow", "timeout_s": 0.05}]}, "took longer than 0.05 s"),
        ({"rewards": [{"use": "numeric", "only": {"source": "sums"}}]}, "which no task has"),
        ({"rewards": [{"use": "numeric"}, {"use": "exact"}]}, "both give the outcome"),
        ({"curriculum": {"use": "uniform", "weight": {}}}, "did you mean 'weights'"),
        ({"curriculum": {"use": "PLUG:half"}}, "sample(2): expected 2 tasks, got 0"),
        ({"tagger": {"use": "PLUG:Spans"}}, "inside a text"),
        ({"formats": {"use": "PLUG:Words"}}, "expected a name as str, got 3"),
        ({"diagnostics": [{"use": "entropi"}]}, "did you mean 'entropy'"),
        ({"tasks": [{"use": "file", "args": {"path": "nowhere.jsonl"}}]}, "no such file"),
        ({"model": {"path": "./nowhere"}}, "no such directory"),
        ({"model": {"lora": {"targets": ["q_pro"]}}}, "q_pro"),
        ({"sampling": {"max_prompt_length": 4}}, "are too long; raise it"),
        ({"sampling": {"max_prompt_length": 4090}, "rollouts": {"engine": "vllm"}}, "the model has 4096 positions"),
        ({"rollouts": {"engine": "vllm", "args": {"block_sise": 8}}}, "did you mean 'block_size'"),
        ({"rollouts": {"engine": "vllm", "args": {"dtype": "auto"}}}, "leave it out"),
        ({"training": {"trl": {"epsilon_hihg": 0.3}}}, "did you mean 'epsilon_high'"),
        ({"training": {"trl": {"epsilon": "a lot"}}}, "training.trl.epsilon: expected float, got 'a lot'"),
        ({"training": {"trl": {"beta": 0.1}}}, "is set by training.beta"),
        ({"training": {"trl": {"lr_scheduler_type": "sawtooth"}}}, "sawtooth"),
        ({"training": {"optimizer": "adam"}}, "adam is not a valid OptimizerNames"),
        ({"rollouts": {"tensor_parallel": 2, "gpus": 1}}, "expected rollouts.gpus: 2"),
        ({"rollouts": {"gpus": 1.5}}, "1.5 GPU(s) for an engine of tensor_parallel 1; expected rollouts.gpus: 1"),
        ({"distributed": {"gpus": 2}}, "a trainer process computes on one; expected at most 1"),
        ({"distributed": {"deepspeed": "pyproject.toml"}}, "distributed.strategy is ddp; set strategy: deepspeed"),
        ({"rollouts": {"gpus": 0.4}}, "expected distributed.gpus: 0.6"),
        ({"rollouts": {"engine": "vllm", "gpus": 1, "memory": 40}}, "rollouts.memory: 40, but for an engine on GPUs"),
        ({"rollouts": {"gpus": 0.4, "memory": 1}, "distributed": {"gpus": 0.6}}, "number below 1, for example 0.4"),
        (_shared(engines=2, processes=1), "expected at most 1, or whole GPUs"),
        (_shared(engines=2, processes=2, engine=0.5, trainer=0.5), "two trainer processes or two engines on one GPU"),
        (_shared(engines=2, processes=2, engine=0.2, trainer=0.6), "for example 0.6 and 0.4"),
        ({"distributed": {"nodes": 2}}, "set distributed.ray_address: auto"),
        ({"distributed": {"deepspeed": "ds.json"}}, "no file ds.json"),
    ],
)
def test_what_would_fail_is_an_error(sections, error, tmp_path):
    plugin = tmp_path / "plug.py"
    plugin.write_text(PLUGINS)
    assert error in lines(check.look(settings(**_at(sections, str(plugin)))), "error")


def _at(value, plugin: str):
    """The value with PLUG replaced by the plugin's file."""
    if isinstance(value, dict):
        return {key: _at(item, plugin) for key, item in value.items()}
    if isinstance(value, list):
        return [_at(item, plugin) for item in value]
    return value.replace("PLUG", plugin) if isinstance(value, str) else value


def test_a_diagnostic_with_undeclared_metrics_is_told(tmp_path):
    plugin = tmp_path / "plug.py"
    plugin.write_text(PLUGINS)
    sections = check.look(settings(diagnostics=[{"use": f"{plugin}:Unheard"}]))
    assert "colour/blue" in lines(sections, "warning")


@pytest.mark.parametrize(
    ("sections", "warning"),
    [
        ({"sampling": {"top_p": 0.9}}, "renormalised over its nucleus"),
        ({"model": {"lora": {"dropout": 0.1}}}, "drawn anew in each forward"),
        ({"rollouts": {"max_lag": 1}}, "off-policy"),
        ({"rollouts": {"slots": 2}}, "so a group runs in turns"),
        ({"rollouts": {"slots": 4}}, "8 sequences, sampled in turns"),
        ({"evaluation": {"prompts": 5, "num_generations": 1}}, "lost in chance; raise evaluation.prompts"),
        ({"evaluation": {"prompts": 500}}, "prompts are held out and will be used"),
        ({"rewards": [{"use": "format", "role": "shaping"}]}, "no outcome reward applies"),
        ({"training": {"loss": "cispo"}}, "set training.trl.epsilon_high"),
        ({"advantages": {"hicra": {"start": 9}}}, "the run ends at step 4, so it never begins"),
        ({"advantages": {"guard": {}}}, "is seen 0.2 times in this run, and none is guarded before it was"),
        ({"training": {"updates_per_rollout": 2}, "evaluation": {"every": 3, "prompts": 16}}, "it is due every 6"),
        ({"evaluation": {"every": 2, "prompts": 16}, "checkpoints": {"every": 3}}, "both are due, every 6 steps"),
    ],
)
def test_what_is_allowed_and_often_not_meant_is_a_warning(sections, warning):
    found = check.look(settings(**sections))
    assert warning in lines(found, "warning")
    assert errors(found) == []


def test_an_engine_beside_each_trainer_process_is_sound():
    assert "on one GPU" not in lines(check.look(settings(**_shared(engines=2, processes=2))), "error")


def test_what_needs_a_download_is_not_checked():
    sections = check.look(
        settings(model={"path": "Qwen/Qwen3-0.6B"}, tasks=[{"use": "hub", "args": {"dataset": "gsm8k"}}])
    )
    assert errors(sections) == []
    unchecked = lines(sections, "unchecked")
    assert "not checked here because Qwen/Qwen3-0.6B is not downloaded" in unchecked
    assert "0.6B parameters, from its name" in unchecked
    assert "gsm8k: its rows: not checked here because the data set is not on this machine" in unchecked


# --- the loss in words ---


@pytest.fixture(scope="module")
def trl():
    return arguments.check_arguments(settings())[1]


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_is_told_with_its_constants(kind, trl):
    words = told(loss.loss_in_words(settings(training={"loss": kind}), trl))
    assert words.startswith(f"{kind}: each completion token has")
    assert "{" not in words
    assert "rows without tokens" in words


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        ({"use_bias_correction_kl": False}, "KL: + 0.1 (e^d - d - 1) a token"),
        (
            {"sync_ref_model": True, "ref_model_sync_steps": 8},
            "Every 8 steps p_initial becomes 0.6 x the policy + 0.4 x",
        ),
        (
            {"use_adaptive_entropy": True, "entropy_target": 0.5},
            "at most 0.5; c begins at 0 and moves by 0.005 a step, up",
        ),
    ],
)
def test_what_trl_adds_to_the_loss_is_in_the_words(extra, part, trl):
    assert part in told(loss.loss_in_words(settings(training={"beta": 0.1}), {**trl, **extra}))


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({}, "r_t: p_t over itself, since one update follows each rollout batch, so it is 1, and clipping is inactive"),
        ({}, "w_t: min(p_t / sampler_t, 2), without gradient"),
        ({"training": {"loss": "bnpo"}}, "it depends on the cut"),
        ({"training": {"loss": "dr_grpo"}}, "divided by 8 x 16"),
        ({"training": {"loss": "grpo"}}, "a step with half its groups has half the gradient"),
        ({"training": {"updates_per_rollout": 2}}, "r_t: p_t / sampler_t: the old log-probs are the sampler's"),
        ({"training": {"updates_per_rollout": 2}}, "nothing is left to correct"),
        ({"training": {"updates_per_rollout": 2, "old_logprobs": "recompute"}}, "p_old from a forward without"),
        ({"training": {"updates_per_rollout": 2, "old_logprobs": "recompute"}}, "min(p_old / sampler_t, 2)"),
        ({"training": {"old_logprobs": "recompute"}, "rollouts": {"max_lag": 1}}, "the old log-probs are this forward"),
        ({"training": {"correction": "sequence_mask", "correction_cap": 4}}, "0 outside [0.25, 4]"),
        ({"training": {"correction": "none"}}, "w_t: 1: no importance correction"),
        ({"training": {"beta": 0.01}}, "KL: + 0.01 r_t (e^d - d - 1) a token"),
        ({"advantages": {"scale": "group"}}, "divided by the group's standard deviation"),
        ({"advantages": {"combine": "normalize_then_sum"}}, "each reward by itself"),
        ({"advantages": {"guard": {}}}, "is left out where its prompt was visited 8 times and passes in less than"),
        ({"advantages": {"guard": {"cap": 1}, "scale": "group"}}, "has its advantages scaled down to a largest of 1"),
        ({"advantages": {"guard": {}}}, "passes in less than 0.125 of cases with 95% certainty"),
        ({"advantages": {"guard": {}}}, "the step is shorter by the share that was withheld"),
    ],
)
def test_the_words_follow_the_config(sections, part, trl):
    assert part in told(loss.loss_in_words(settings(**sections), trl))


def test_overridden_defaults_say_why():
    section, _ = arguments.check_arguments(settings(training={"trl": {"weight_decay": 0.1}}))
    text = told(section)
    assert "lr_scheduler_type: 'constant', TRL has 'linear': with a constant rate" in text
    assert "weight_decay: 0.1, TRL has 0.0: training.trl" in text
    assert "num_generations: 4, TRL has 8: from sampling.num_generations" in text


# --- memory ---

FACTS = {"parameters": 1000, "hidden": 8, "layers": 2, "vocab": 50, "kv_width": 4, "positions": 4096, "reason": None}


def test_memory_of_a_trainer_is_spelt_out():
    plain = trainer_bytes(settings(), FACTS)
    assert (plain.weights, plain.gradients, plain.optimizer, plain.copies) == (4000, 4000, 8000, 0)
    assert plain.logits == 4 * 16 * 50 * 12
    with_reference = trainer_bytes(settings(training={"beta": 0.1}, model={"dtype": "bfloat16"}), FACTS)
    assert with_reference.copies == 2000 + 4000
    adapter = trainer_bytes(settings(model={"lora": {"rank": 1}}), FACTS | {"trainable": 10})
    assert (adapter.weights, adapter.gradients, adapter.optimizer) == (4000, 40, 80)
    checkpointed = trainer_bytes(settings(model={"gradient_checkpointing": True}), FACTS)
    assert checkpointed.activations < plain.activations


@pytest.mark.parametrize(
    ("name", "size"),
    [("Qwen/Qwen3-0.6B", 600_000_000), ("a/SmolLM2-135M-Instruct", 135_000_000), ("gpt2", None), ("x/phi-4bit", None)],
)
def test_a_model_s_name_may_tell_its_size(name, size):
    assert _from_name(name) == size


# --- a run asks the same ---


@pytest.mark.parametrize("override", ["training.trl={epsilon: far}", "rewards.0.use=nobody", "curriculum.use=nobody"])
def test_what_check_refuses_makes_no_directory(override, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = config.load("quickstart", [override])
    with pytest.raises(ValueError, match=r"epsilon|nobody"):
        launch.train(loaded, "quickstart", resume=None, twin=True, faults=())
    assert list(tmp_path.iterdir()) == []


NESTED = {"use": "curricula.staged:Staged", "inner": {"use": "curricula.difficulty:Difficulty"}}


def _without(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def _cut(directory: Path) -> None:
    os.truncate(directory / "model.safetensors", 50_000)


def _blank(directory: Path) -> None:
    os.truncate(directory / "model.safetensors", 0)


def _shard_lost(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def _described(directory: Path, **other) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | other))


def _tokenizer_broken(directory: Path) -> None:
    (directory / "tokenizer.json").write_text('{"x": 1}')


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (_without, "no weights in it"),
        (_cut, "is cut short at 50,000 bytes"),
        (_blank, "is no whole safetensors file"),
        (_shard_lost, "no model-00002-of-00002.safetensors, which model.safetensors.index.json names"),
        (partial(_described, vocab_size=300), "has shape [259, 64] in the weights, and config.json asks for [300, 64]"),
        (partial(_described, model_type="frobnicate"), "frobnicate"),
        (partial(_described, model_type="t5"), "T5Config"),
        (_tokenizer_broken, "its tokenizer cannot be read"),
    ],
)
def test_a_model_that_could_not_be_loaded_is_an_error(damage, error, tmp_path):
    directory = Path(shutil.copytree(models.locate("tiny"), tmp_path / "model"))
    damage(directory)
    assert error in lines(check.look(settings(model={"path": str(directory)})), "error")


def test_tensors_that_would_begin_at_random_are_told(tmp_path):
    directory = Path(shutil.copytree(models.locate("tiny"), tmp_path / "model"))
    _described(directory, num_hidden_layers=3)
    found = check.look(settings(model={"path": str(directory)}))
    assert "9 tensors are not in the weights and begin at random, model.layers.2." in lines(found, "warning")


def test_nested_curricula_are_built_and_tried():
    section = one(check.look(settings(curriculum=NESTED)), "curriculum")
    assert "sample, observe, admit, metrics and its state answer" in told(section)
    assert "Staged" in told(section) and "Difficulty" in told(section)


@pytest.mark.parametrize(
    ("curriculum", "said"),
    [
        ({**NESTED, "stages": ["structured", "creativ"]}, "'creativ', no kind or source"),
        (
            {**NESTED, "inner": {"use": "curricula.difficulty:Difficulty", "low": 2}},
            "low: expected a number from 0 to 1",
        ),
        ({"use": "curricula.mixture:Mixture", "weights": {"chain_sum": -1}}, "expected a number at least 0, got -1"),
        ({"use": "curricula.mixture:Mixture", "weigths": {}}, "did you mean 'weights'"),
    ],
)
def test_a_curriculum_that_cannot_be_is_one_error(curriculum, said):
    assert said in lines(check.look(settings(curriculum=curriculum)), "error")

"""What `check` refuses so that a run need not: arguments without effect, directories, rewards that never return."""

import json
import os
from pathlib import Path

import pytest

from rltrain.check import rewards, sources, trials
from rltrain.check.arguments import check_arguments
from rltrain.check.arithmetic import placement
from rltrain.check.verdicts import errors
from rltrain.check.writable import check_writable
from rltrain.rollouts import vllm_engine
from rltrain.trainer import GRPOConfig
from rltrain.trl_arguments import trl_arguments
from tests.test_check import lines, settings

KNOWN = GRPOConfig.__dataclass_fields__


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("resume_from_checkpoint", "x", "--resume"),
        ("push_to_hub", True, "no run uploads anything"),
        ("hub_token", "x", "no run uploads anything"),
        ("trackio_space_id", "x", "the loop reports"),
        ("vllm_mode", "server", "our engines sample"),
        ("sync_ref_model", True, "give training.beta above 0"),
        ("use_liger_kernel", True, "liger-kernel is not installed"),
        ("epsilon", -0.1, "expected 0 or more, got -0.1"),
        ("max_grad_norm", -1.0, "expected 0 or more, got -1.0"),
        ("max_grad_norm", float("nan"), "expected 0 or more, got nan"),
        ("save_total_limit", 3, "is set by checkpoints.keep"),
        ("save_only_model", True, "is set by the loop"),
        ("ignore_data_skip", False, "is set by the loop"),
        ("logging_steps", 5, "is set by the loop"),
        ("ddp_backend", "glooo", "is set by distributed.gpus"),
        ("importance_sampling_level", "tokn", "expected one of token, sequence, got 'tokn'"),
        ("log_level", "loud", "expected one of debug"),
        ("torch_compile_backend", "inductr", "inductor"),
        ("top_entropy_quantile", -0.5, "expected a share from 0 to 1, got -0.5"),
        ("ref_model_sync_steps", 0, "expected a number above 0, got 0"),
        ("chat_template_kwargs", {"enable_thinking": False}, "see the section model"),
        ("eval_on_start", True, "the loop evaluates"),
        ("bf16_full_eval", True, "the loop evaluates"),
        ("label_smoothing_factor", 0.1, "there are no labels"),
        ("do_predict", True, "a run trains"),
        ("dataloader_num_workers", 2, "come from the loop"),
        ("accelerator_config", {"dispatch_batches": True}, "come from the loop"),
        ("fsdp_config", {"reshard_after_forward": False}, "without distributed.strategy: fsdp2"),
    ],
)
def test_an_argument_of_trl_that_a_run_cannot_honour(key, value, error, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=f"training.trl.{key}: .*{error}"):
        trl_arguments(settings(training={"trl": {key: value}}), Path("x"), KNOWN)


def test_an_argument_of_trl_that_is_off_is_taken():
    assert trl_arguments(settings(training={"trl": {"push_to_hub": False}}), Path("x"), KNOWN)["push_to_hub"] is False
    synced = settings(training={"beta": 0.1, "trl": {"sync_ref_model": True}})
    assert trl_arguments(synced, Path("x"), KNOWN)["sync_ref_model"] is True


def test_a_reference_that_is_no_model_of_its_own_is_not_synced():
    adapted = settings(model={"lora": {"rank": 4}}, training={"beta": 0.1, "trl": {"sync_ref_model": True}})
    with pytest.raises(ValueError, match=r"sync_ref_model: with model.lora the reference is"):
        trl_arguments(adapted, Path("x"), KNOWN)


def test_settings_of_fsdp2_are_added_to_ours():
    distributed = {"processes": 2, "gpus": 1, "strategy": "fsdp2"}

    def sharded(**given):
        arguments = trl_arguments(settings(distributed=distributed, training={"trl": given}), Path("x"), KNOWN)
        return arguments["fsdp_config"]

    assert sharded() == {"version": 2}
    assert sharded(fsdp_config={"cpu_offload": True}) == {"version": 2, "cpu_offload": True}
    with pytest.raises(ValueError, match="expected FSDP2's settings"):
        sharded(fsdp_config={"version": 1})


def test_what_a_gpu_has_is_no_error_where_there_is_none():
    section, _ = check_arguments(settings(distributed={"gpus": 1}, training={"trl": {"tf32": True}}))
    assert errors([section]) == []


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("gpu_memory_utilization", 0.5, "is set by rollouts.memory"),
        ("tensor_parallel_size", 2, "is set by rollouts.tensor_parallel"),
        ("enforce_eager", "maybe", "expected bool"),
        ("max_model_len", "1024", "got '1024'"),
        ("block_sise", 8, "did you mean 'block_size'"),
    ],
)
def test_an_argument_of_vllm_that_an_engine_would_not_take(name, value, error):
    with pytest.raises(ValueError, match=f"rollouts.args.{name}: .*{error}"):
        vllm_engine.check_arguments({"enforce_eager": True, "max_num_batched_tokens": 512, name: value})


def test_a_directory_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is no directory; give another"):
        check_writable(settings(run={"dir": str(tmp_path / "file" / "deep" / "run")}))
    check_writable(settings(run={"dir": str(tmp_path / "new" / "run")}))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="cannot be written to"):
        check_writable(settings(run={"dir": str(tmp_path / "run")}))


def test_an_engine_too_short_for_the_completions():
    short = settings(rollouts={"engine": "vllm", "args": {"max_model_len": 64}})
    assert "rollouts.args.max_model_len: 64, but prompt and completion have up to 528" in "".join(
        errors([placement(short)])
    )


def test_what_is_for_vllm_alone_does_nothing_silently():
    section = placement(settings(rollouts={"engine": "transformers", "args": {"enforce_eager": True}, "memory": 2}))
    assert "rollouts.args: enforce_eager: arguments of vLLM's engine" in "".join(errors([section]))
    assert "rollouts.memory 2: has no effect on the engine transformers" in lines([section], "warning")


PLUGINS = """
import os, sys, time
from curricula.uniform import Uniform
def exits(task, completion): os._exit(3)
def interrupts(task, completion): raise KeyboardInterrupt
def deaf(task, completion):
    while True:
        try: time.sleep(60)
        except BaseException: pass
class EndsAtItsStart(Uniform):
    def __init__(self, *args, **named): sys.exit("enough")
class EndsInUse(Uniform):
    def observe(self, groups): sys.exit("enough")
class Unpicklable(Uniform):
    def state_dict(self): return super().state_dict() | {"f": lambda: 1}
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plug.py"
    path.write_text(PLUGINS)
    return path


def test_rewards_that_die_or_never_return_are_told(plugin):
    uses = [{"use": f"{plugin}:{name}", "role": "shaping"} for name in ("exits", "interrupts", "deaf")]
    config = settings(rewards=[{"use": "exact"}, *uses[:2], uses[2] | {"timeout_s": 0.2}])
    section, scores = rewards.check_rewards(config, sources.check_tasks(config)[1])
    [error] = errors([section])
    assert "reward 'exits' ended its process with status 3" in error
    assert "KeyboardInterrupt" in error
    assert "reward 'deaf' did not return within 0.2 s" in error
    assert scores["chain_sum"][0].values["exact"] == 1.0


def test_a_curriculum_whose_state_cannot_be_saved(plugin):
    config = settings(curriculum={"use": f"{plugin}:Unpicklable"})
    section = trials.check_curriculum(config, sources.check_tasks(config)[1], {})
    assert "state_dict(): expected what can be pickled, for checkpoints" in "".join(errors([section]))


@pytest.mark.parametrize("name", ["EndsAtItsStart", "EndsInUse"])
def test_a_plugin_that_calls_exit_does_not_end_the_check(plugin, name):
    config = settings(curriculum={"use": f"{plugin}:{name}"})
    section = trials.check_curriculum(config, sources.check_tasks(config)[1], {})
    assert "SystemExit: enough" in "".join(errors([section]))


def test_an_outcome_that_no_task_has_is_a_warning(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{i} + 1?", "answer": str(i + 1)}) + "\n" for i in range(9)))
    tasks = [{"use": "file", "args": {"path": str(path)}, "held_out": 0}]
    config = settings(tasks=tasks, rewards=[{"use": "reasoning_gym"}])
    section, _ = rewards.check_rewards(config, sources.check_tasks(config)[1])
    assert errors([section]) == []
    assert "The outcome reward 'reasoning_gym' does not apply to tasks of 'rows'" in lines([section], "warning")


def test_answers_that_the_reward_cannot_read_are_a_warning(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"{i} + 1?", "answer": "\\frac{" if i == 5 else str(i + 1)} for i in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = settings(tasks=[{"use": "file", "args": {"path": str(path)}, "held_out": 0}], rewards=[{"use": "math"}])
    section, _ = rewards.check_rewards(config, sources.check_tasks(config)[1])
    assert errors([section]) == []
    warned = lines([section], "warning")
    assert "1 of 9 answers tried are errors to their reward. The first: Raised ValueError: reward" in warned


def test_a_guard_that_lets_no_group_of_a_hard_prompt_through():
    with pytest.raises(ValueError, match=r"guard\.min_successes: 2, but of 2 completions"):
        settings(advantages={"guard": {}}, sampling={"num_generations": 2})
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        settings(advantages={"guard": {"min_successes": 1}})


@pytest.mark.parametrize("optimizer", ["adalomo", "galore_adamw_layerwise"])
def test_a_guard_that_could_make_no_step_shorter(optimizer):
    with pytest.raises(ValueError, match=f"the optimizer {optimizer} changes weights inside the backward pass"):
        settings(advantages={"guard": {}}, training={"optimizer": optimizer})

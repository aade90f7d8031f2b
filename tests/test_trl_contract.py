"""What rltrain needs of TRL and transformers, each hook by name, so that an upgrade fails here first."""

from __future__ import annotations

import inspect
import re

import pytest
import tiny
import torch
from transformers import Trainer

from rltrain.trainer import GRPOConfig, GRPOTrainer, RLTrainer
from rltrain.trl_hooks import CALLED, HOOKS, OVERRIDDEN, TAPPED, moved, parameters

ARGUMENTS = "model reward_funcs args train_dataset processing_class peft_config"
USES = CALLED | {name: f"RLTrainer overrides it: {use}" for name, use in OVERRIDDEN.items()}
USES |= {name: f"{USES.get(name, '')} PhaseCallback taps it; without it is off: {off}" for name, off in TAPPED.items()}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_where_it_was(name):
    assert (why := moved(GRPOTrainer, name)) is None, f"{why}; {USES[name]}"


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_we_override_what_we_pin(name):
    assert name in vars(RLTrainer), f"RLTrainer no longer overrides {name}: drop it from this file"


def test_nothing_else_is_overridden_unawares():
    """A new method of TRL or transformers must not meet one of ours by accident."""
    ours = {name for name, value in vars(RLTrainer).items() if inspect.isfunction(value) and name != "__init__"}
    theirs = {name for base in RLTrainer.__mro__[1:] for name in vars(base)}
    assert ours & theirs == set(OVERRIDDEN), "a method of RLTrainer has the name of a method of TRL's"


def test_the_constructor_takes_our_arguments():
    missing = set(ARGUMENTS.split()) - set(parameters(GRPOTrainer.__init__))
    assert not missing, f"GRPOTrainer() no longer takes {missing}; RLTrainer.__init__ passes them"


def test_the_loss_reads_the_keys_we_write():
    source = inspect.getsource(GRPOTrainer._compute_loss)
    uses = {
        "prompt_ids prompt_mask completion_ids completion_mask advantages": "batch.collate",
        "num_items_in_batch": "batch.collate; the normaliser of dapo, cispo and vespo",
        "importance_sampling_ratio": "RLTrainer._read_along writes it during the loss's own forward",
        "old_per_token_logps": "RLTrainer.prepared",
        "ref_per_token_logps": "RLTrainer._compute_loss",
    }
    for keys, use in uses.items():
        for key in keys.split():
            assert f'inputs["{key}"]' in source or f'inputs.get("{key}")' in source, (
                f"GRPOTrainer._compute_loss no longer reads inputs[{key!r}]; written by: {use}"
            )


def test_a_generation_is_judged_and_shuffled_as_the_callback_counts_on():
    """`PhaseCallback` joins rewards to the loss's rows by a column that it adds to the generation."""
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    judged = "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)"
    assert judged in source, f"a generation is no longer judged by {judged}"
    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    steps = ("_generate_and_score_completions(", "shuffle_sequence_dict(", "split_tensor_dict(")
    places = [source.index(step) for step in steps]
    assert places == sorted(places), "a generation is no longer shuffled and split after it was judged"


def test_the_attributes_that_the_callback_reads_are_there(tmp_path):
    trainer = tiny.trainer(tiny.config(), tmp_path)
    for name in ("accelerator", "processing_class", "model", "num_generations"):
        assert getattr(trainer, name, None) is not None, f"GRPOTrainer.{name} is gone; PhaseCallback reads it"
    assert len(trainer.reward_func_names) == len(trainer.reward_weights.tolist()) == 1
    assert trainer.processing_class.eos_token_id in trainer.eos_token_ids


def test_the_forward_comes_before_what_it_writes_is_read():
    source = inspect.getsource(GRPOTrainer._compute_loss)
    forward = source.index("self._get_per_token_logps_and_entropies(")
    for key in ("importance_sampling_ratio", "old_per_token_logps"):
        assert forward < re.search(rf'inputs(\.get\(|\[)"{key}"', source).start(), (
            f"_compute_loss reads {key} before its forward; RLTrainer._read_along writes it in that forward"
        )
    assert "compute_entropy=True" in source, "the loss no longer asks for entropies; the records need them"


def test_the_correction_is_multiplied_when_two_attributes_say_so():
    source = inspect.getsource(GRPOTrainer._compute_loss)
    assert "self.use_vllm and self.vllm_importance_sampling_correction" in source, (
        "the switch of the importance correction moved; RLTrainer.__init__ sets both attributes"
    )


def test_the_log_probs_come_with_entropies_and_an_auxiliary_loss(tmp_path):
    trainer = tiny.trainer(tiny.config(), tmp_path)
    ids = torch.randint(256, (2, 7))
    found = GRPOTrainer._get_per_token_logps_and_entropies(
        trainer, trainer.model, ids, torch.ones_like(ids), 3, compute_entropy=True
    )
    assert len(found) == 3, f"_get_per_token_logps_and_entropies returns {len(found)} things; RLTrainer returns 3"
    assert found[0].shape == found[1].shape == (2, 3)
    ours = trainer._get_per_token_logps_and_entropies(trainer.model, ids, torch.ones_like(ids), 3, compute_entropy=True)
    torch.testing.assert_close(ours[0], found[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1], found[1], atol=1e-5, rtol=0)


def test_advantages_may_be_one_a_token(tmp_path):
    trainer = tiny.trainer(tiny.config(), tmp_path)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    inputs = trainer.prepared(tiny.rows(2), 10)
    assert inputs["advantages"].dim() == 2
    assert trainer.compute_loss(trainer.model, inputs).dim() == 0, "_compute_loss no longer takes advantages (B, T)"


def test_a_step_pulls_its_micro_batches_and_not_one_more(tmp_path):
    """The lines after the loop's yield must run after the optimizer step, not before it."""
    trainer = tiny.trainer(tiny.config(training={"steps": 2}), tmp_path)
    count = trainer.args.gradient_accumulation_steps
    seen = []

    def stream():
        for step in range(2):
            for _ in range(count):
                seen.append(("pulled", trainer.state.global_step))
                yield trainer.prepared(tiny.rows(2), 10)
            seen.append(("after", trainer.state.global_step, step))

    trainer.run(stream())
    assert seen == [*[("pulled", 0)] * count, ("after", 1, 0), *[("pulled", 1)] * count, ("after", 2, 1)], (
        "Trainer.get_batch_samples no longer pulls exactly one step: rltrain/loop.py publishes weights after its yield"
    )


def test_the_trainer_counts_the_micro_batches_of_a_step():
    source = inspect.getsource(Trainer._run_epoch)
    assert "self.current_gradient_accumulation_steps = len(batch_samples)" in source, (
        "Trainer no longer sets current_gradient_accumulation_steps; TRL's losses are normalised by it"
    )
    assert GRPOTrainer.loss_is_scaled_for_ga is True, "TRL no longer scales its loss for accumulation itself"
    assert source.index("_get_grad_norm(") < source.index("self.optimizer.step()"), (
        "the gradient norm is taken after the optimizer step; RLTrainer._get_grad_norm must stop before it"
    )


def test_accelerate_keeps_the_forward_without_its_autocast(tmp_path):
    trainer = tiny.trainer(tiny.config(model={"dtype": "bfloat16"}), tmp_path)
    prepared = trainer.accelerator.prepare_model(trainer.model)
    assert hasattr(prepared, "_original_forward"), (
        "accelerate no longer keeps a prepared model's forward as _original_forward; "
        "RLTrainer._logits needs it to compute in another precision (parity gate)"
    )


def test_no_argument_of_ours_is_unknown_to_trl(tmp_path):
    from rltrain.trl_arguments import OWNED, trl_arguments

    fields = set(GRPOConfig.__dataclass_fields__)
    unknown = (set(trl_arguments(tiny.config(), tmp_path, fields)) | set(OWNED)) - fields
    assert not unknown, f"GRPOConfig has no {unknown}; set in rltrain/trl_arguments.py"

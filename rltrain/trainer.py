"""TRL's GRPOTrainer, fed from outside. The only file that imports trl.

TRL owns optimisation: loss variants, PEFT, accelerate, schedules, optimizer and checkpoint files. This
subclass replaces where its data come from (a stream of ready micro-batches) and reads along where it
computes log-probs, so that the importance correction and the per-token records cost no second
forward. Every overridden hook is pinned by a test that fails by name when TRL moves it.
"""

from __future__ import annotations

import unittest.mock
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import IterableDataset as Examples
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, TrainerCallback

# TRL imports all of vLLM when it is installed: ten seconds and a gigabyte in a process that never samples.
# (To be dropped once TRL imports it where it uses it.)
with unittest.mock.patch("trl.import_utils.is_vllm_available", lambda min_version=None: False):
    from trl import GRPOConfig, GRPOTrainer

from rltrain.batch import Row, collate
from rltrain.builtin_models import no_progress_bars
from rltrain.config import Config
from rltrain.correction import Drift, drift, importance_ratio, log_ratio
from rltrain.covariance import drawn, kl_penalty, largest, token_covariance
from rltrain.credit import with_entropy_bonus
from rltrain.gradients import GradientWatch
from rltrain.head import only_at, packed, score
from rltrain.step_scale import StepScale
from rltrain.trl_arguments import trl_arguments

REFERENCE = "reference.pt"  # in a checkpoint: one that moves with the policy, which TRL would begin with anew


class NonFinite(RuntimeError):
    """Gradients are NaN or infinite; raised before the optimizer step, so the weights are still good."""


class Trained(NamedTuple):
    """What the training forward saw of one row. Arrays are (T,)."""

    key: tuple[int, int]
    train_logprob: np.ndarray
    entropy: np.ndarray
    ratio: np.ndarray
    token_advantage: np.ndarray


class RLTrainer(GRPOTrainer):
    """One optimizer step per `gradient_accumulation_steps` micro-batches pulled from `stream`."""

    def __init__(
        self,
        config: Config,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        output_dir: Path,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self._step_scale = StepScale()
        super().__init__(
            model=model,
            reward_funcs=_rewarded_elsewhere,
            args=GRPOConfig(**trl_arguments(config, output_dir, GRPOConfig.__dataclass_fields__)),
            train_dataset=Examples.from_generator(_no_examples),
            processing_class=tokenizer,
            peft_config=lora_config(config),
            callbacks=[*callbacks, self._step_scale],
        )
        self.remove_callback(PrinterCallback)
        self.beta = config.training.beta  # TRL saw the largest that an action may set, and made a reference for it
        # Set after construction, so that TRL builds no engine and yet multiplies our correction into the loss.
        self._covariance = config.training.covariance
        clips = self._covariance is not None and self._covariance.method == "clip_cov"
        self.use_vllm = config.training.correction != "none" or clips
        self.vllm_importance_sampling_correction = self.use_vllm
        self._correction, self._cap = config.training.correction, config.training.correction_cap
        self._old_is_sampler = not config.aligned and config.training.old_logprobs == "sampler"
        self._stream: Iterator[list[Row]] = iter(())
        self._inputs: dict[str, Any] | None = None
        self._trained: list[Trained] = []
        self._drifts: list[Drift] = []
        self.step_logs: dict[str, float] = {}
        self.gradients = GradientWatch()

    # --- what the loop calls ---------------------------------------------------------------------

    def run(self, stream: Iterator[dict[str, Any]], resume_from: Path | None = None) -> None:
        """Train on the stream, and let it run its last lines: TRL stops pulling after the last step."""
        self._stream = stream
        if resume_from and self.args.sync_ref_model:
            self.ref_model.load_state_dict(torch.load(resume_from / REFERENCE, map_location="cpu"))
        self.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
        assert next(stream, None) is None, "the stream has more micro-batches than the trainer has steps"

    def prepared(self, batch: list[Row], num_items: int, share: float = 1.0) -> dict[str, Any]:
        """A micro-batch of this rank. `num_items`: completion tokens of the step, all ranks; `share`: of its rate."""
        inputs: dict[str, Any] = collate(batch, num_items)
        inputs |= {"rows": batch, "share": share}
        if self._old_is_sampler:
            inputs["old_per_token_logps"] = inputs["sampling_per_token_logps"]
        return inputs

    def take_step(self) -> tuple[list[Trained], list[Drift], dict[str, float]]:
        """What this rank computed since the last call: rows, drift, TRL's own logs."""
        taken = self._trained, self._drifts, self.step_logs
        self._trained, self._drifts, self.step_logs = [], [], {}
        return taken

    @torch.no_grad()
    def logprobs(self, batch: list[Row], precision: str | None = None) -> list[np.ndarray]:
        """(T,) log-probs of each row's completion under the current weights; `precision` overrides the run's."""
        logp, _, _ = self._plain_head(self.model, *self._joined(batch), precision=precision)
        return [logp[i, : len(row.completion_ids)].float().cpu().numpy() for i, row in enumerate(batch)]

    @torch.no_grad()
    def logits(self, batch: list[Row]) -> list[np.ndarray]:
        """(T, V) raw logits at each row's completion tokens. Large: for a handful of rows."""
        logits_NV, real_BT = self._logits(self.model, *self._joined(batch), precision=None)
        return [part.float().cpu().numpy() for part in logits_NV.split(real_BT.sum(-1).tolist())]

    def save(self, path: Path) -> None:
        """Everything TRL needs to go on from here: weights, optimizer, schedule, RNG. Entered by all ranks."""
        self.args.output_dir = str(path.parent)
        with no_progress_bars():
            self._save_checkpoint(self.model, trial=None)
        self.accelerator.wait_for_everyone()  # each rank adds a file of its own
        if self.accelerator.is_main_process:
            (path.parent / f"checkpoint-{self.state.global_step}").rename(path)
            (path.parent / "README.md").unlink(missing_ok=True)  # TRL's model card
            if self.args.sync_ref_model:
                torch.save(self.ref_model.state_dict(), path / REFERENCE)
        self.accelerator.wait_for_everyone()

    def adjust(self, settings: Mapping[str, float]) -> None:
        """Change `beta` or `entropy_coef` from the next step on. Entered by all ranks."""
        self.beta = settings.get("beta", self.beta)
        self.entropy_coef = settings.get("entropy_coef", self.entropy_coef)
        self._entropy_bonus_enabled = self.entropy_coef != 0.0 or self.use_adaptive_entropy

    # --- hooks of TRL, each pinned in tests/test_trl_contract.py -----------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """The stream as it is: accelerate's wrapper refuses batches of different sizes."""
        return DataLoader(_Stream(self._stream), batch_size=None, collate_fn=lambda batch: batch)

    def _prepare_inputs(self, generation_batch: dict[str, Any]) -> dict[str, Any]:
        device = self.accelerator.device
        return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in generation_batch.items()}

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        if self.beta != 0.0 and "ref_per_token_logps" not in inputs:
            inputs["ref_per_token_logps"] = self._reference(inputs)
        self._inputs = inputs  # the forward below writes the correction into it
        self.gradients.coming(inputs["rows"])
        self._step_scale.coming(self.optimizer, inputs["share"])
        try:
            loss = super()._compute_loss(model, inputs)
            return loss + inputs["penalty"] if "penalty" in inputs else loss
        finally:
            self._inputs = None

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **kwargs
    ):
        if input_ids.device.type == "cpu":  # TRL's fused head scores prompts too there, and takes over twice as long
            out = self._plain_head(model, input_ids, attention_mask, logits_to_keep)
        else:
            out = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
            )
        if self._inputs is not None:
            self._read_along(self._inputs, out[0].detach(), out[1].detach())
            if self._covariance is not None:
                self._spare_entropy(self._inputs, out[0])
        return out

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        value = float(norm)
        if not np.isfinite(value):  # the same on every rank, after the gradients were reduced
            raise NonFinite(f"gradient norm is {value} in step {self.state.global_step + 1}; no weight was changed")
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep TRL's numbers of this step for the loop, which logs once."""
        super().log(logs, start_time)
        self.step_logs |= {key: value for key, value in logs.items() if isinstance(value, int | float)}

    # --- inside ----------------------------------------------------------------------------------

    def _plain_head(self, model, input_ids, attention_mask, T: int, *, precision=None):
        """Log-probs and entropies (B, T), zero at padding; the head runs at completion tokens alone."""
        logits_NV, real_BT = self._logits(model, input_ids, attention_mask, T, precision)
        scored = score(logits_NV, input_ids[:, -T:][real_BT], self.temperature)
        logps, entropies = (values.new_zeros(real_BT.shape).masked_scatter(real_BT, values) for values in scored)
        return logps, entropies if self._entropy_bonus_enabled else entropies.detach(), None

    def _logits(self, model, input_ids, attention_mask, T: int, precision: str | None):
        """(N, V) logits at the N completion tokens, in the run's precision or another, and where they are (B, T)."""
        rows = packed(input_ids, attention_mask, T)
        inputs = {"input_ids": rows.ids_BW, "use_cache": False}
        with only_at(self.accelerator.unwrap_model(model).get_output_embeddings(), rows.at_N):
            if precision is None:
                with self.accelerator.autocast():
                    return model(**inputs).logits.squeeze(0), rows.real_BT
            # accelerate puts its own autocast into `forward` and keeps the model's under another name
            forward = getattr(model, "_original_forward", model)
            with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                return forward(**inputs).logits.squeeze(0), rows.real_BT

    def _joined(self, batch: list[Row]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Token ids and mask (B, P + T) of rows, and T."""
        inputs = self._prepare_inputs(collate(batch, 1))
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        return ids, mask, inputs["completion_ids"].size(1)

    @torch.no_grad()
    def _reference(self, inputs: dict[str, Any]) -> torch.Tensor:
        """(B, T) log-probs under the initial policy: a model of its own, or the adapter switched off."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        T = inputs["completion_ids"].size(1)
        if self.ref_model is not None:
            return self._get_per_token_logps_and_entropies(self.ref_model, ids, mask, T)[0]
        with self.accelerator.unwrap_model(self.model).disable_adapter():
            return self._get_per_token_logps_and_entropies(self.model, ids, mask, T)[0]

    def _read_along(self, inputs: dict[str, Any], logps: torch.Tensor, entropy: torch.Tensor) -> None:
        """Write the correction for the loss, and keep what the records need."""
        mask = inputs["completion_mask"]
        sampler = inputs["sampling_per_token_logps"]
        old = inputs.get("old_per_token_logps", logps)
        if "old_per_token_logps" in inputs:  # a token without the sampler's number counts as sampled from now's policy
            old = inputs["old_per_token_logps"] = torch.where(old.isnan(), logps, old)
        diff = log_ratio(old, sampler, mask)
        if self.use_vllm:
            none = self._correction == "none"
            ratio = torch.ones_like(diff) if none else importance_ratio(diff, self._correction, self._cap)
            inputs["importance_sampling_ratio"] = ratio
        if "entropy_bonus" in inputs:
            inputs["advantages"] = with_entropy_bonus(
                inputs["advantages"], inputs["values"], inputs["entropy_bonus"], entropy, mask
            )
        self._drifts.append(drift(logps.detach(), sampler, mask, self._correction, self._cap))
        seen = log_ratio(logps, sampler, mask)  # of the policy as it is now, whatever the loss calls old
        arrays = [t.detach().float().cpu().numpy() for t in (logps, entropy, seen.exp(), inputs["advantages"])]
        lengths = mask.sum(-1).tolist()
        for i, (row, length) in enumerate(zip(inputs["rows"], lengths, strict=True)):
            if row.key[0] >= 0:
                self._trained.append(Trained(row.key, *(a[i, :length].copy() for a in arrays)))

    def _spare_entropy(self, inputs: dict[str, Any], logps: torch.Tensor) -> None:
        """KL-Cov: a penalty for the loss. Clip-Cov: weight 0 for the drawn tokens."""
        spec, mask = self._covariance, inputs["completion_mask"]
        covariance = token_covariance(inputs["advantages"], logps, mask)
        if spec.method == "clip_cov":
            kept = ~drawn(covariance, mask, spec.share, spec.bounds)
            inputs["importance_sampling_ratio"] = inputs["importance_sampling_ratio"] * kept
        else:  # divided like the token-mean losses: by the tokens of the step, of all ranks
            tokens = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
            chosen = largest(covariance, mask, spec.share)
            inputs["penalty"] = spec.coef * kl_penalty(logps, inputs["old_per_token_logps"], chosen) / tokens


def _rewarded_elsewhere(completions: list, **columns: Any) -> list[float]:
    """TRL wants a reward function; rewards are given before its part begins."""
    return [0.0] * len(completions)


def lora_config(config: Config):
    """PEFT's config of the adapter, None where all weights are trained."""
    if config.model.lora is None:
        return None
    from peft import LoraConfig

    lora = config.model.lora
    sizes = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "target_modules": lora.targets}
    return LoraConfig(**sizes, task_type="CAUSAL_LM")


def _no_examples():
    """TRL's constructor wants a data set; the stream takes its place."""
    yield from ()


class _Stream(IterableDataset):
    def __init__(self, stream: Iterator[dict[str, Any]]) -> None:
        self._stream = stream

    def __iter__(self):
        return self._stream

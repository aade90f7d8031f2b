"""`PhaseCallback`: the diagnostics inside a plain GRPO script of TRL.

trainer = GRPOTrainer(...)
trainer.add_callback(PhaseCallback(trainer))
trainer.train()
"""

from __future__ import annotations

import functools
import json
import logging
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from transformers import TrainerCallback

from rltrain import diagnose, plugins
from rltrain.config.root import DIAGNOSTICS, TAGGER
from rltrain.correction import step_drift
from rltrain.manifest import manifest
from rltrain.plugins import built
from rltrain.records import RunDir, jsonl, load_run
from rltrain.records.run_dir import newest, next_name, taken
from rltrain.tokenizers import TokenText
from rltrain.trl_hooks import TAPPED
from rltrain.trl_records import step_record
from rltrain.trl_taps import Row, Taps
from rltrain.types import Diagnostic, Event, StepRecord

STATE = "rltrain_diagnostics.pkl"  # in TRL's checkpoints
logger = logging.getLogger("rltrain")


class PhaseCallback(TrainerCallback):
    """Runs the diagnostics after every optimizer step of a `GRPOTrainer`, without a forward of their own.

    It writes a run directory: metrics.jsonl and events.jsonl, the rollouts with their per-token arrays,
    `diagnosis.json` at each checkpoint and at the end, and then report.html. The metrics enter the trainer's own logs
    too: where it does not log every step, those of the last step. A data set's columns `source`, `kind` and `answer`
    are used where they are text. What cannot be measured is logged as a warning and noted in diagnosis.json.
    Each `train()` that begins at step 0 is a run of its own: the next number, of `out` `out-001` and so on.

    Args:
        trainer: a `trl.GRPOTrainer` or a subclass of it.
        out: directory to write, without a run in it; default: `diagnosis-NNN` in the trainer's `output_dir`.
        outcome: name of the reward function that is the task's result in [0, 1]; default: the only one there is.
            One that leaves [0, 1] is none, and a note says so.
        diagnostics: names or specs, in this order; default: the eight of a run (`rltrain/config/root.py`).
        tagger, formats: names or specs of what finds planning phrases and names formats.

    Raises:
        ValueError: another kind of trainer, a reward function that is not there, or a plugin that is not found; and
            as training begins, that of another trainer than the one it was made with.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        out: str | Path | None = None,
        outcome: str | None = None,
        diagnostics: Sequence[str] = DIAGNOSTICS,
        tagger: str = TAGGER,
        formats: str = "rules",
    ) -> None:
        self._tagger, self._formats = built(tagger, "rltrain.taggers", {}), built(formats, "rltrain.formats", {})
        self._specs = list(diagnostics)
        self._diagnostics = self._built()
        self._taps = Taps(trainer)
        self._trainer = trainer
        self._out = Path(out) if out is not None else None
        self._text = TokenText(getattr(trainer.processing_class, "tokenizer", trainer.processing_class))
        self._named = self._outcome = _outcome(outcome, trainer.reward_func_names)
        self._notes: list[str] = []
        self._directory: RunDir | None = None  # of the main process, from the beginning of training on
        self._news: dict[str, float] = {}  # metrics that are not in the trainer's logs yet
        for measures in dict.fromkeys(TAPPED[name] for name in self._taps.off):
            why = "; ".join(self._taps.off[name] for name in self._taps.off if TAPPED[name] == measures)
            self._note(f"off: {measures} ({why})")
        if self._outcome is None:
            names = ", ".join(trainer.reward_func_names)
            self._note(f"no outcome: several reward functions; name the task's result by outcome=..., one of {names}")
        for text in _reuse(trainer):
            self._note(text)
        self._lasting = tuple(self._notes)  # true of every training
        if "log" not in self._taps.off:
            trainer.log = functools.partial(self._log, trainer, trainer.log)

    # --- what the trainer calls ------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Make the directory, or go on with the one of a resumed run."""
        self._begin(args)
        if not state.is_world_process_zero:
            return
        listed = json.dumps([{"use": spec} for spec in self._specs])
        text = f"# made by rltrain's PhaseCallback\ntraining: {{steps: {state.max_steps}}}\ndiagnostics: {listed}\n"
        if state.global_step and (place := self._out or newest(args.output_dir, "diagnosis")) and taken(place):
            self._directory = RunDir.open(place)
            self._directory.cut(state.global_step)
            self._directory.rewrite_config(text)
            self._restore(Path(args.output_dir) / f"checkpoint-{state.global_step}", state.global_step)
            return
        self._directory = RunDir.create(self._place(args.output_dir), text, manifest())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the step. Entered by all processes: their rows are gathered."""
        rows = self._taps.take()
        if self._trainer.accelerator.num_processes > 1:
            rows = gather_object(rows)
        if self._directory is None:
            return
        if not rows:
            self._note("off: steps in which nothing went through the trainer's hooks; they are left out")
            return
        begun = time.monotonic()
        self._doubt_outcome(rows)
        record = step_record(state.global_step, rows, self._text, self._tagger, self._formats, self._outcome)
        self._note_what_lacks(rows)
        metrics = diagnose.uncorrected(step_drift(record, "none", 1.0))
        record = StepRecord(record.step, record.groups, record.tokens, metrics)
        for diagnostic in self._diagnostics:
            metrics |= diagnostic.observe(record)  # into the record's own, where the next diagnostic finds them
            for event in diagnostic.events():
                self._event(event)
        self._directory.write_rollouts(record)
        metrics["time/diagnostics_s"] = time.monotonic() - begun
        self._directory.log_metrics(record.step, metrics)
        self._news = metrics

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Rewrite diagnosis.json, and put what a resumed run needs into the checkpoint."""
        if self._directory is None:
            return
        self._write()
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if checkpoint.is_dir():
            with open(checkpoint / STATE, "wb") as file:
                kept = [diagnostic.state_dict() for diagnostic in self._diagnostics]
                pickle.dump((self._specs, kept, self._outcome), file)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last verdicts and the report."""
        self._taps.listening = False
        if self._directory is None:
            return
        self._write()
        self._directory.close()
        place = self._directory.path
        plugins.resolve("html", "rltrain.reports")([place], place / "report.html", resolve=plugins.resolve)
        print(f"verdicts   {place / diagnose.FILE}\nreport     {place / 'report.html'}   open it in a browser")

    # --- inside ----------------------------------------------------------------------------------

    def _built(self) -> list[Diagnostic]:
        return [built(spec, "rltrain.diagnostics", {}, tagger=self._tagger) for spec in self._specs]

    def _place(self, folder: str) -> Path:
        """A new directory: `out`, numbered `diagnosis-NNN` without it, and `out-NNN` where this callback filled it."""
        if self._out is None:
            return Path(folder) / next_name(folder, "diagnosis")
        if self._directory is not None:
            return self._out.parent / next_name(self._out.parent, self._out.name)
        if taken(self._out):
            raise ValueError(f"PhaseCallback: out {str(self._out)!r} holds a run already; give another directory")
        return self._out

    def _begin(self, args: Any) -> None:
        """Forget an earlier training of the same trainer: its steps, what it left unread, what it had to note."""
        if args is not self._trainer.args:
            raise ValueError(
                "PhaseCallback: it was made with another trainer than the one that it is added to, and would hear "
                "nothing of this one; write trainer.add_callback(PhaseCallback(trainer))"
            )
        self._taps.take()
        self._taps.listening = True
        self._diagnostics, self._outcome = self._built(), self._named
        self._notes, self._news = list(self._lasting), {}

    def _log(self, trainer: Any, original: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if trainer.model.training:
            logs.update(self._news)
            self._news = {}
        original(logs, *args, **kwargs)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
            logger.warning(text)

    def _doubt_outcome(self, rows: Sequence[Row]) -> None:
        """A reward that leaves [0, 1] is no task result: of -1 and 1 the failures would count as unknown."""
        given = [row.judged.values.get(self._outcome) for row in rows if self._outcome and row.judged is not None]
        strange = next((value for value in given if value is not None and not 0 <= value <= 1), None)
        if strange is not None:
            self._note(
                f"no outcome: {self._outcome} gave {strange:g} and a task's result is in [0, 1]; have it return 0 to 1 "
                "or name another reward function by outcome=..."
            )
            self._outcome = None

    def _note_what_lacks(self, rows: Sequence[Row]) -> None:
        """What the hooks, though they are there, did not bring."""
        if all(row.tokens is None for row in rows) and not self._taps.off:
            self._note(f"off: {TAPPED['_compute_loss']} (the loss did not ask for log-probs by its hook)")
        if any(row.tokens is not None and not np.isfinite(row.tokens.entropy).any() for row in rows):
            self._note("off: entropy (the loss did not ask for entropies)")
        if any(row.judged is not None and not np.isfinite(row.judged.total or 0.0) for row in rows):
            self._note("NaN or infinite rewards: such scores count as failed")
        masks = [row.tokens.loss_mask for row in rows if row.tokens is not None]
        if masks and not any(mask.any() for mask in masks):
            self._note(
                f"off: {TAPPED['_compute_loss']}, of steps of which no token is trained; with "
                "mask_truncated_completions that is where all completions are cut off: raise max_completion_length"
            )
        if all(row.sampler is None for row in rows):
            self._note("off: drift (without vLLM TRL keeps no log-probs of the sampler)")

    def _event(self, event: Event) -> None:
        assert self._directory is not None
        self._directory.log_event(event)
        if event.severity != "info":
            logger.warning(f"step {event.step}: {event.name}: {event.advice}")

    def _write(self) -> None:
        """diagnosis.json from what has been written so far."""
        assert self._directory is not None
        self._directory.flush()
        place = self._directory.path
        lines, events = jsonl.read(place / "metrics.jsonl"), load_run(place).events
        diagnose.write(place / diagnose.FILE, diagnose.diagnosis(self._diagnostics, lines, events, self._notes))

    def _restore(self, checkpoint: Path, step: int) -> None:
        path = checkpoint / STATE
        specs, states, outcome = [], [], self._outcome
        if path.is_file():
            with open(path, "rb") as file:  # our own file, in a checkpoint that TRL unpickles as well
                specs, states, *more = pickle.load(file)
            outcome = more[0] if more else outcome  # which earlier versions did not keep
        if specs != self._specs:
            why = "it has others" if specs else "it is not there"
            self._note(f"resumed at step {step} without the diagnostics' state in {path} ({why}): they begin anew")
            return
        for diagnostic, kept in zip(self._diagnostics, states, strict=True):
            diagnostic.load_state_dict(kept)
        if outcome is None and self._outcome is not None:
            self._outcome = None
            self._note("no outcome: its reward left [0, 1] before the checkpoint")


def _outcome(name: str | None, rewards: Sequence[str]) -> str | None:
    """The reward that is the task's result; None where it is not said and there are several."""
    if name is None:
        return rewards[0] if len(rewards) == 1 else None
    if name not in rewards:
        raise ValueError(f"PhaseCallback: outcome {name!r}{plugins.suggest(name, rewards, 'the reward functions are')}")
    return name


def _reuse(trainer: Any) -> list[str]:
    """What it means for the measures that steps of the optimizer and generations are not the same thing."""
    again, parts = trainer.num_iterations, trainer.args.steps_per_generation
    told = []
    if again > 1:
        told.append(
            f"num_iterations {again}: each completion is in as many steps, so that the alarms of formats and "
            "shortcuts, which count completions of different steps as different ones, are too sure"
        )
    if parts > trainer.args.gradient_accumulation_steps:
        told.append(
            f"steps_per_generation {parts}, more than gradient_accumulation_steps: TRL scatters a group over several "
            "steps; what is compared inside groups (zero variance, lucky hits, formats in a group) rests on parts"
        )
    return told

"""The end of a run: the model saved, the report written, what came of it in words."""

from __future__ import annotations

import shlex
import shutil
from typing import Any

from rltrain import checkpoint, evaluate, plugins
from rltrain.builtin_models import no_progress_bars
from rltrain.metrics import stem
from rltrain.order import Order
from rltrain.records import RunDir
from rltrain.run import Run
from rltrain.terminal import typed
from rltrain.types import Event


def finish(run: Run) -> list[str]:
    """Save the model, write the report, and say what came of it."""
    with checkpoint.told_if_full(run.directory.path / "model"):
        _save_model(run)
    lines = ["", *_forecast(run)]
    run.directory.flush()
    write = plugins.resolve("html", "rltrain.reports")
    report = write([run.directory.path], run.directory.path / "report.html", resolve=plugins.resolve)
    # without an outcome reward there is nothing to compare
    evaluations = {step: outcomes for step, outcomes in run.progress.evaluations.items() if outcomes}
    if len(evaluations) > 1:
        first, last = min(evaluations), max(evaluations)
        gain = evaluate.paired_difference(evaluations[first], evaluations[last], seed=run.config.run.seed)
        run.directory.update_manifest(improvement={"mean": gain.mean, "low": gain.low, "high": gain.high})
        before, after = (_mean(evaluations[step]) for step in (first, last))
        verdict = "it learned" if gain.low > 0 else "no improvement shown"
        lines += [
            f"held-out outcome: {before:.3f} before, {after:.3f} after; "
            f"after minus before {gain} (paired bootstrap 95%, {len(evaluations[first])} prompts): {verdict}"
        ]
    path, command = shlex.quote(str(run.directory.path)), typed("rltrain")
    return [
        *lines,
        f"report     {report}   open it in a browser",
        f"look       {command} dashboard {path}   "
        "# pictures and every completion, the worst of the last step one click away",
        f"metrics    {run.directory.path / 'metrics.jsonl'}   events.jsonl beside it",
        f"rollouts   {run.directory.path / 'rollouts'}   one parquet a step, every completion with its tokens",
        f"model      {run.directory.path / 'model'}   from_pretrained and vLLM load it",
        *run.tracker.told(),
        f"go on with {command} status {path}   or {command} eval {path}",
    ]


def _forecast(run: Run) -> list[str]:
    """The outcomes that the curriculum's order was expected to end with beside those that came, where it has any.

    An event tells of them; it stands before the report is written.
    """
    forecast = {
        name.rpartition("@")[2]: value
        for name, value in run.curriculum.metrics().items()
        if stem(name) == "curriculum/forecast"
    }
    last = max(run.progress.evaluations, default=0)
    if not forecast or not last:
        return []
    source = {task.key: task.source for task in run.held_out}
    rows: dict[str, list[float]] = {}
    for key, outcomes in run.progress.evaluations[last].items():
        rows.setdefault(source[key], []).append(float(outcomes.mean()))
    came = {name: sum(rows[name]) / len(rows[name]) for name in forecast if name in rows}
    if not came:
        return []
    error = sum(abs(came[name] - forecast[name]) for name in came) / len(came)
    evidence = {"forecast": {name: forecast[name] for name in came}, "came": came, "mean_error": error}
    advice = "an error as large as the differences between the orders means that the order was not chosen by evidence"
    run.event(Event(last, "order_forecast", "info", evidence, advice))
    told = ", ".join(f"{name} {forecast[name]:.3f}, came {value:.3f}" for name, value in came.items())
    return [f"forecast of the order: {told}; mean error {error:.3f}"]


def _save_model(run: Run) -> None:
    """`model/`: what `from_pretrained` and vLLM load; an adapter beside it, merged into it.

    Written from gathered tensors, so that a model in shards is saved like any other.
    """
    import torch

    model = run.trainer.accelerator.unwrap_model(run.trainer.model)
    target = run.directory.path / "model"
    target.mkdir(exist_ok=True)
    if run.config.model.lora is not None:
        last = checkpoint.whole(run.directory.checkpoints)[-1]  # of the final step: the loop has just saved it
        shutil.copytree(last.path, target / "adapter", ignore=_no_adapter, dirs_exist_ok=True)
        model = model.get_base_model()
    model.config.dtype = getattr(torch, run.config.model.dtype)
    with no_progress_bars():
        model.save_pretrained(target, state_dict={name: tensor.cpu() for name, tensor in run.final_weights()})
    run.trainer.processing_class.save_pretrained(target)


def _no_adapter(directory: str, names: list[str]) -> list[str]:
    """What of a checkpoint is not the adapter."""
    return [name for name in names if not name.startswith("adapter_")]


def _mean(outcomes: dict[str, Any]) -> float:
    return float(sum(row.mean() for row in outcomes.values()) / max(1, len(outcomes)))


def last_words(error: BaseException, order: Order) -> str:
    """What happened, where the state is, the command that goes on."""
    directory = order.directory
    what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    found = checkpoint.whole(RunDir.open(directory).checkpoints)
    state = f"checkpoint of step {found[-1].step} in {found[-1].path}" if found else "no checkpoint yet"
    arguments = ["train", str(directory / "config.yaml"), *(["--twin"] if order.twin else []), "--resume"]
    command = f"{typed('rltrain')} {shlex.join([*arguments, str(directory)])}"
    return f"{what}\nrun directory {directory}; {state}; go on with: {command}"

"""One optimizer step of plain TRL, with its own generation, against one of ours.

Same model, tasks, reward, precision (fp32 weights, bf16 autocast), loss, learning rate and temperature;
4 prompts x 8 completions of at most 128 tokens; two threads. Both trainers live in this process and take
steps in turn: everything between two `on_step_begin` counts, so a step of ours holds training,
publishing, recording, sampling and scoring, and nothing of it runs while TRL's turn is on.

TRL is measured as it comes, and with gradient checkpointing off, which costs memory and saves a forward
pass; one trainer takes both kinds of steps. The ratio is against the faster. Its other settings that
matter for speed are its defaults: micro-batches of 8, generation of all 32 completions at once with a
key-value cache.
"""

from __future__ import annotations

import contextlib
import io
import queue
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from benchmarks.measure import MODEL, THREADS, Result, Series, Tick, config, in_turn
from rltrain import build, cluster, loop, tasks
from rltrain.channel import Channel
from rltrain.config import Config, dump
from rltrain.console import Console
from rltrain.manifest import manifest
from rltrain.models import load_model, load_tokenizer
from rltrain.order import Order
from rltrain.plugins import resolve
from rltrain.records import RunDir, load_run
from rltrain.trainer import GRPOConfig, GRPOTrainer
from rltrain.types import Task

REPEATS = 5
WARMUP = 1
CONTESTANTS = ("rltrain", "TRL", "TRL, no gradient checkpointing")


def ticks(repeats: int) -> int:
    """Notches of the progress bar."""
    return len(CONTESTANTS) * (WARMUP + repeats)


def measure(repeats: int, tick: Tick) -> Result:
    """Seconds of an optimizer step."""
    torch.set_num_threads(THREADS)
    prompts = list(tasks.build(config().tasks, seed=0, twin=False).train)
    with tempfile.TemporaryDirectory() as folder, cluster.session(), contextlib.ExitStack() as stack:
        ours = stack.enter_context(our_trainer(Path(folder) / "run", config()))
        trl = trl_trainer(prompts, Path(folder) / "trl")
        our_pace, trl_pace = Paced(ours.trainer, ours.train), Paced(trl.trainer, trl.train)
        stack.callback(our_pace.stop)
        stack.callback(trl_pace.stop)

        def light() -> float:
            trl.trainer.model.gradient_checkpointing_disable()
            taken = trl_pace.step()
            trl.trainer.model.gradient_checkpointing_enable(trl.trainer.args.gradient_checkpointing_kwargs)
            return taken

        found = in_turn(
            dict(zip(CONTESTANTS, (our_pace.step, trl_pace.step, light), strict=True)), repeats, tick, warmup=WARMUP
        )
        lengths = {"rltrain": ours.lengths(), "TRL": trl.lengths()}
    series = {name: Series("s", values) for name, values in found.items()}
    reference = min(CONTESTANTS[1:], key=lambda name: series[name].median)
    ratio = series[reference].median / series["rltrain"].median
    return Result({"step_time_ratio": ratio}, series, {"reference": reference, "mean completion tokens": lengths})


class Contestant(NamedTuple):
    """A trainer that was built and not yet started."""

    trainer: Any
    train: Callable[[], None]
    lengths: Callable[[], list[float]]  # mean completion length of each step so far: both sides have like work


class Enough(Exception):
    """Ends a trainer's loop in the middle; nothing of it is needed any more."""


class Paced(TrainerCallback):
    """A trainer in a thread of its own that takes one step when it is told to, and otherwise waits."""

    def __init__(self, trainer: Any, train: Callable[[], None]) -> None:
        self._train = train
        self._go, self._arrived = threading.Semaphore(0), queue.SimpleQueue()
        self._stopping = False
        trainer.add_callback(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()  # up to its first step

    def step(self) -> float:
        """Let it go on to where its next step begins; the seconds that took."""
        begun = time.perf_counter()
        self._go.release()
        self._wait()
        return time.perf_counter() - begun

    def stop(self) -> None:
        """End its thread."""
        self._stopping = True
        self._go.release()
        self._thread.join()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer in its thread."""
        self._arrived.put(None)
        self._go.acquire()
        if self._stopping:
            raise Enough

    def _wait(self) -> None:
        if error := self._arrived.get():
            raise error

    def _run(self) -> None:
        try:
            self._train()
        except Enough:
            pass
        except BaseException as error:  # re-raised in the thread that waits for the step
            self._arrived.put(error)


@contextlib.contextmanager
def our_trainer(directory: Path, settings: Config) -> Iterator[Contestant]:
    """A run of ours with one vLLM engine in a Ray actor, built as `rltrain train` builds it."""
    closers: list[Callable[[], None]] = []
    files = RunDir.create(directory, dump(settings), manifest())
    try:
        order = Order(settings, directory, twin=False, faults=(), resume=None)
        run = build.leader(
            order, Channel(settings.rollouts.deadline_s), files, Console(live=False, out=io.StringIO()), closers
        )
        yield Contestant(
            run.trainer,
            lambda: run.trainer.run(loop.train(run)),
            lambda: load_run(directory).metrics["length/mean"].dropna().tolist(),
        )
    finally:
        for close in reversed(closers):
            close()
        files.close()


def trl_trainer(prompts: Sequence[Task], directory: Path) -> Contestant:
    """TRL's own trainer on the same tasks, with the same reward."""
    settings = config()
    reward = resolve("reasoning_gym", "rltrain.rewards")

    def scored(completions: list[Any], number: list[int], **_: Any) -> list[float]:
        texts = (types.SimpleNamespace(text=messages[0]["content"]) for messages in completions)
        return [reward(prompts[n], text) for n, text in zip(number, texts, strict=True)]

    trainer = GRPOTrainer(
        model=load_model(MODEL, "float32"),
        reward_funcs=scored,
        args=GRPOConfig(
            output_dir=str(directory),
            num_generations=settings.sampling.num_generations,
            max_completion_length=settings.sampling.max_completion_length,
            temperature=settings.sampling.temperature,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=settings.sequences_per_step // 8,
            learning_rate=settings.training.learning_rate,
            lr_scheduler_type="constant",
            loss_type=settings.training.loss,
            scale_rewards=settings.advantages.scale,
            max_steps=settings.training.steps,
            bf16=True,
            use_cpu=True,
            seed=settings.run.seed,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(
            {"prompt": [[dict(m) for m in task.prompt] for task in prompts], "number": list(range(len(prompts)))}
        ),
        processing_class=load_tokenizer(MODEL),
    )
    trainer.remove_callback(PrinterCallback)
    name = "completions/mean_length"
    return Contestant(trainer, trainer.train, lambda: [log[name] for log in trainer.state.log_history if name in log])

"""Several trainer processes, started by Ray Train. Rank 0 drives the run; see `channel.py` for the rest.

Rank 0 owns the stream, the engines and the files, inside a worker of Ray Train; what it shows is relayed
to this process, where the terminal is. Gradients go over gloo on CPUs and NCCL on GPUs (the latter not
run on a GPU yet).
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
from typing import Any

import ray
from ray.util.queue import Empty, Queue

from rltrain import lending
from rltrain.config import Config
from rltrain.console import Console
from rltrain.order import Order

STORAGE = ".ray-train"  # in the run directory, which every node sees; Ray Train insists on a place to write to
WAIT_S = 0.2


class TrainersFailed(RuntimeError):
    """A trainer process failed or died, and the others were ended; the message names the first cause."""


def launch(order: Order, console: Console) -> None:
    """Run the order in `distributed.processes` trainer processes.

    ValueError when Ray has too few CPUs or GPUs, TrainersFailed when a process does not finish, or what
    rank 0 ended with.
    """
    _check_room(order.config)
    storage = order.directory.resolve() / STORAGE
    shutil.rmtree(storage, ignore_errors=True)  # of a run that was killed
    news = Queue(actor_options={"num_cpus": 0})
    outcome: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    # Not in the main thread: there Ray Train would take Ctrl-C for itself, and end with status 0.
    thread = threading.Thread(target=_fit, args=(order, news, storage, outcome), name="ray-train", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            _show(news, console)
        _show(news, console)
    finally:
        console.close()
        news.shutdown(force=True)
        shutil.rmtree(storage, ignore_errors=True)
    if (error := outcome.get()) is not None:
        raise error


def _resources(config: Config) -> dict[str, float]:
    """What one trainer process holds. Below 1 a GPU is shared with an engine; above 0.5 no two trainers share one."""
    return {"CPU": 1.0} | ({"GPU": config.distributed.gpus} if config.distributed.gpus else {})


def _check_room(config: Config) -> None:
    """Ray would wait for ever for what it does not have."""
    have = ray.cluster_resources()
    others = {"GPU": config.rollouts.engines * config.rollouts.gpus + lending.lent_gpus(config)}
    for kind, each in _resources(config).items():
        need = config.distributed.processes * each + others.get(kind, 0.0)
        if need > have.get(kind, 0.0):
            raise ValueError(
                f"distributed.processes: {config.distributed.processes} trainer process(es) and "
                f"{config.rollouts.engines} engine(s) need {need:g} {kind}s, Ray has {have.get(kind, 0.0):g}; "
                "lower distributed.processes or rollouts.engines, or join a larger cluster"
            )


def _fit(order: Order, news: Queue, storage: os.PathLike, outcome: queue.SimpleQueue) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    wanted = order.config.distributed
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"order": order, "news": news, "home": os.getcwd()},
        scaling_config=ScalingConfig(
            num_workers=wanted.processes,
            use_gpu=bool(wanted.gpus),
            resources_per_worker=_resources(order.config),
        ),
        torch_config=TorchConfig(
            backend="nccl" if wanted.gpus else "gloo", timeout_s=int(2 * order.config.rollouts.deadline_s)
        ),
        run_config=RunConfig(
            name=order.directory.name, storage_path=str(storage), failure_config=FailureConfig(max_failures=0)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        outcome.put(_explained(error, wanted.processes))
    except BaseException as error:  # re-raised by `launch`, in the thread that waits
        outcome.put(error)
    else:
        outcome.put(None)


def _rank(given: dict[str, Any]) -> None:
    """The body of one trainer process."""
    from rltrain.launch import run_rank

    os.chdir(given["home"])  # files and plugins are named relative to where the person stands
    run_rank(given["order"], _Relay(given["news"]))


def _explained(error: Exception, processes: int) -> Exception:
    """One error out of those of several processes: the run's own last words, or who died."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    causes = {rank: _root_cause(failure) for rank, failure in sorted(failures.items())}
    for rank, cause in causes.items():
        if isinstance(cause, ray.exceptions.RayActorError):
            return TrainersFailed(
                f"trainer process {rank} of {processes} died: killed from outside, or out of memory; "
                "the others were ended"
            )
    if 0 in causes:
        return causes[0]
    for rank, cause in causes.items():
        return TrainersFailed(f"trainer process {rank} of {processes} failed: {type(cause).__name__}: {cause}")
    return TrainersFailed(str(getattr(error, "controller_failure", error)).strip().splitlines()[0])


def _root_cause(failure: BaseException) -> BaseException:
    """What Ray Train wrapped: the process's own exception, or why it could not be asked how it does."""
    for attribute in ("_base_exc", "health_check_failure"):
        failure = getattr(failure, attribute, failure)
    return failure


class _Relay:
    """Stands for the console in rank 0: every call is made again in the process that has the terminal."""

    def __init__(self, news: Queue) -> None:
        self._news = news

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: self._news.put((method, arguments))


def _show(news: Queue, console: Console) -> None:
    """Make the calls that came in, until there are none for a moment."""
    while True:
        try:
            method, arguments = news.get(timeout=WAIT_S)
        except Empty:
            return
        getattr(console, method)(*arguments)

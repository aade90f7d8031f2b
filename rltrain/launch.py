"""Sets a run going: Ray, the trainer processes, the loop. With `build.py` the only place that constructs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rltrain import order as orders
from rltrain import plugins
from rltrain.config import Config
from rltrain.console import Console
from rltrain.order import Order
from rltrain.records import RunDir, pulse


class RunFailed(RuntimeError):
    """A run that had begun ended early; the message says where its state is and how to go on."""


def train(config: Config, stem: str, *, resume: str | None, twin: bool, faults: Sequence[str]) -> Path:
    """Run to the end; the run directory. ValueError before anything is written, RunFailed under way.

    `resume`: None to start afresh, "" for the newest run of this config, else a run.
    """
    from rltrain import cluster
    from rltrain.faults import Faults

    cluster.end_in_order()
    plugins.check_shadowing()
    Faults(faults)
    asked = None
    if twin:
        from rltrain.twin import twin as twin_of

        asked, config, stem = config, twin_of(config), f"{stem}-twin"
    with contextlib.ExitStack() as held:
        order = orders.place(config, stem, resume=resume, asked=asked, faults=tuple(faults), held=held)
        _run(order, Console(live=config.run.console))
    return order.directory


def _run(order: Order, console: Console) -> None:
    """Ray, and the trainer processes in it. What was made for a run that never began is taken back."""
    from rltrain import cluster

    wanted = order.config.distributed
    try:
        with pulse.beating(order.directory), cluster.session(wanted.ray_address, wanted.processes):
            if wanted.processes == 1 and not wanted.gpus:
                run_rank(order, console)
            else:  # also for one process on a GPU: Ray then gives it another GPU than the engines'
                _run_ranks(order, console)
    except RunFailed:  # it had begun, and says how to go on
        raise
    except Exception:  # wrong input that only the machine could tell, such as more GPUs than there are; no Ray
        orders.withdraw(order)
        raise
    except KeyboardInterrupt as error:  # Ctrl-C, SIGTERM or SIGHUP, at any moment from Ray's start to its end
        raise _failed(error, order) from error


def _run_ranks(order: Order, console: Console) -> None:
    """Trainer processes of Ray Train; what ends one of them without a word of its own gets its last words here."""
    from rltrain import distributed

    try:
        distributed.launch(order, console)
    except distributed.TrainersFailed as error:
        raise _failed(error, order) from error


def _failed(error: BaseException, order: Order) -> RunFailed:
    from rltrain import finish

    return RunFailed(finish.last_words(error, order))


def run_rank(order: Order, console: Console) -> None:
    """One trainer process: the leader drives the stream, the others follow."""
    from rltrain import build, cluster, finish, loop
    from rltrain.channel import Channel

    channel = Channel(2 * order.config.rollouts.deadline_s)
    if not channel.leads:
        run = build.follower(order, channel)
        run.trainer.run(loop.follow(run), resume_from=order.resume.path if order.resume else None)
        return
    closers: list[Any] = [console.close]
    directory = RunDir.open(order.directory)
    try:
        run = build.leader(order, channel, directory, console, closers)
        cluster.heed()  # imports, which the start is full of, may have swallowed a Ctrl-C
        run.trainer.run(loop.train(run), resume_from=order.resume.path if order.resume else None)
        lines = finish.finish(run)
        channel.announce("stop")
        directory.close()
    except (Exception, SystemExit) as error:  # a plugin may call sys.exit
        raise _failed(error, order) from error
    finally:
        with cluster.uninterrupted():
            for close in reversed(closers):
                close()
            with contextlib.suppress(OSError):  # another file on the same full disk; the first was told
                directory.close()
    console.finish(lines)

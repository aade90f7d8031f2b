"""Mirrors a run to trackers; what goes wrong there is never in the way of the run. The only file that imports wandb."""

from __future__ import annotations

import contextvars
import netrc
import os
import shlex
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from rltrain import rollout_table
from rltrain.metrics import METRICS
from rltrain.records import load_run
from rltrain.terminal import typed

INIT_TIMEOUT_S = 20  # without a network, wandb's own default waits a minute and a half
FINISH_TIMEOUT_S = 60
SUMMARY: Mapping[str, str] = {
    "eval/outcome": "last,max",
    "reward/outcome": "last,max",
    "entropy/mean": "last,min",
    "format/effective": "last,min",
    "drift/kl_sampler_trainer": "last,max",
    "drift/ess": "last,min",
}
"""What wandb's table of runs keeps of a curve beside its last value."""

Note = Callable[[str], None]


class Tracker:
    """The tracker that is off: takes everything and does nothing."""

    @staticmethod
    def open(enabled: bool, run_dir: Path, name: str, config: Mapping[str, Any], note: Note = print) -> Tracker:
        """Weights & Biases for a run: online where a login exists, else offline under `run_dir/wandb`.

        What goes wrong is said once through `note`, and the tracker is then off.
        """
        if not enabled or os.environ.get("WANDB_MODE") == "disabled":
            return Tracker()
        try:
            return Guarded("wandb", _Wandb(run_dir, name, config, note), note)
        except Exception as error:  # whatever wandb has to say, the run does not depend on it
            note(f"wandb is off: {type(error).__name__}: {error}")
            return Tracker()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Mirror a step's metrics."""

    def checkpoint(self, step: int, run_dir: Path, *, last: bool) -> None:
        """Mirror what is too much for every step: pictures, and a few completions of this step."""

    def told(self) -> list[str]:
        """Where it all went, in words for the end of the run."""
        return []

    def close(self) -> None:
        """Hand over what is left."""


class Several(Tracker):
    """Trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(step, metrics)

    def checkpoint(self, step: int, run_dir: Path, *, last: bool) -> None:
        for tracker in self._trackers:
            tracker.checkpoint(step, run_dir, last=last)

    def told(self) -> list[str]:
        return [line for tracker in self._trackers for line in tracker.told()]

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()


class Guarded(Tracker):
    """A tracker that is off after its first failure, and says so once."""

    def __init__(self, name: str, tracker: Tracker, note: Note) -> None:
        self._name, self._tracker, self._note = name, tracker, note
        self._pictures = True

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        try:
            self._tracker.log(step, metrics)
        except Exception as error:  # somebody else's library or disk: the run goes on, and this is said
            self._tracker = Tracker()
            self._note(f"{self._name} is off from step {step} on: {type(error).__name__}: {error}")

    def checkpoint(self, step: int, run_dir: Path, *, last: bool) -> None:
        if not self._pictures:
            return
        try:
            self._tracker.checkpoint(step, run_dir, last=last)
        except Exception as error:
            self._pictures = False
            what = f"pictures and completions for {self._name}"
            self._note(f"{what} are off from step {step} on: {type(error).__name__}: {error}")

    def told(self) -> list[str]:
        return self._tracker.told()

    def close(self) -> None:
        """Once; uploading has no deadline of its own, so it gets one."""
        failures: list[BaseException] = []
        tracker, self._tracker = self._tracker, Tracker()

        def finish() -> None:
            try:
                tracker.close()
            except Exception as error:
                failures.append(error)

        mine = contextvars.copy_context()  # trackio keeps its run in one, which a thread does not have by itself
        thread = threading.Thread(target=mine.run, args=(finish,), name=f"{self._name} finish", daemon=True)
        thread.start()
        thread.join(FINISH_TIMEOUT_S)
        if thread.is_alive():
            self._note(f"{self._name} did not finish in {FINISH_TIMEOUT_S} s; what it has not sent is still on disk")
        elif failures:
            self._note(f"{self._name} did not finish: {type(failures[0]).__name__}: {failures[0]}")


class _Wandb(Tracker):
    def __init__(self, run_dir: Path, name: str, config: Mapping[str, Any], note: Note) -> None:
        import wandb

        self._wandb = wandb
        self._mode = os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
        try:
            self._run = _init(wandb, run_dir, name, config, self._mode)
        except (wandb.errors.CommError, wandb.errors.AuthenticationError, TimeoutError) as error:
            if self._mode != "online":
                raise
            self._mode = "offline"
            note(f"wandb could not be reached ({type(error).__name__}); it writes offline, `wandb sync` sends it later")
            self._run = _init(wandb, run_dir, name, config, self._mode)
        self._drawn = 0  # step of the last pictures
        _lay_out(self._run)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log({"step": step, **metrics})

    def checkpoint(self, step: int, run_dir: Path, *, last: bool) -> None:
        """`rollouts/picked`: the table of rollout_table.py. `views/*`: the report's pictures.

        Pictures come when the run is twice as long as at the last ones, and at its end: each has the whole run in it.
        """
        files = load_run(run_dir)
        media: dict[str, Any] = {}
        if last or step >= 2 * self._drawn:
            self._drawn = step
            for name, figures in files.figures().items():
                for number, figure in enumerate(figures, 1):
                    media[f"views/{name}" + (f" {number}" if len(figures) > 1 else "")] = self._wandb.Plotly(figure)
        if rows := rollout_table.rows(files.rollouts([step])):
            # not as a Table of wandb's, which keeps what is in its cells outside the run's directory
            page = rollout_table.page(rows)
            media["rollouts/picked"] = self._wandb.Html(page, inject=False, data_is_not_path=True)
        if media:
            self._run.log({"step": step, **media})

    def told(self) -> list[str]:
        if self._mode == "offline":
            place = Path(self._run.dir).parent.parent  # of all its parts: each --resume begins another
            return [f"wandb      offline in {place}; send it with: {typed('wandb')} sync {shlex.quote(str(place))}"]
        return [f"wandb      {self._run.url}"]

    def close(self) -> None:
        self._run.finish()


def _lay_out(run: Any) -> None:
    """Curves over our step in the order of our table; a section an area, as wandb makes of the part before the slash.

    Steps are ours: after --resume they may come again, which wandb's own counter refuses.
    """
    run.define_metric("step", hidden=True)
    for name in METRICS:
        run.define_metric(name, step_metric="step", summary=SUMMARY.get(name, "last"))
        run.define_metric(f"{name}@*", step_metric="step")
    run.define_metric("*", step_metric="step")


def _init(wandb: Any, run_dir: Path, name: str, config: Mapping[str, Any], mode: str) -> Any:
    return wandb.init(
        project="rltrain",
        name=name,
        id=run_id(run_dir),
        resume="allow" if mode == "online" else None,
        dir=str(run_dir),
        config=dict(config),
        mode=mode,
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            x_disable_stats=True,
            x_disable_meta=True,
            init_timeout=INIT_TIMEOUT_S,
        ),
    )


def run_id(run_dir: Path) -> str:
    """The run's id at wandb, made once, so that a resumed run goes on in the same curves."""
    path = run_dir / "wandb" / "id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


def logged_in() -> bool:
    """Whether wandb would find a key: in the environment or in netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False

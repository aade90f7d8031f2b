"""Mirrors the metrics to Weights & Biases. The only file that imports wandb, and never in the way of a run."""

from __future__ import annotations

import netrc
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

INIT_TIMEOUT_S = 20  # without a network, wandb's own default waits a minute and a half
FINISH_TIMEOUT_S = 60


class Tracker:
    """The tracker that is off: takes everything and does nothing."""

    @staticmethod
    def open(
        enabled: bool, run_dir: Path, name: str, config: Mapping[str, Any], note: Callable[[str], None] = print
    ) -> Tracker:
        """A tracker for a run: online where a login exists, else offline under `run_dir/wandb`.

        What goes wrong is said once through `note`, and the tracker is then off.
        """
        if not enabled or os.environ.get("WANDB_MODE") == "disabled":
            return Tracker()
        try:
            return _Wandb(run_dir, name, config, note)
        except Exception as error:  # whatever wandb has to say, the run does not depend on it
            note(f"wandb is off: {type(error).__name__}: {error}")
            return Tracker()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Mirror a step's metrics."""

    def close(self) -> None:
        """Hand over what is left."""


class _Wandb(Tracker):
    def __init__(self, run_dir: Path, name: str, config: Mapping[str, Any], note: Callable[[str], None]):
        import wandb

        self._note = note
        mode = os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
        try:
            self._run = _init(wandb, run_dir, name, config, mode)
        except (wandb.errors.CommError, wandb.errors.AuthenticationError, TimeoutError) as error:
            if mode != "online":
                raise
            note(f"wandb could not be reached ({type(error).__name__}); it writes offline, `wandb sync` sends it later")
            self._run = _init(wandb, run_dir, name, config, "offline")
        # Steps are ours: after --resume they may come again, which wandb's own counter refuses.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._run is None:
            return
        try:
            self._run.log({"step": step, **metrics})
        except Exception as error:
            self._run = None
            self._note(f"wandb is off from step {step} on: {type(error).__name__}: {error}")

    def close(self) -> None:
        if self._run is None:
            return
        failures: list[BaseException] = []
        run, self._run = self._run, None

        def finish() -> None:
            try:
                run.finish()
            except Exception as error:
                failures.append(error)

        # Uploading has no deadline of its own.
        thread = threading.Thread(target=finish, name="wandb finish", daemon=True)
        thread.start()
        thread.join(FINISH_TIMEOUT_S)
        if thread.is_alive():
            self._note(f"wandb did not finish in {FINISH_TIMEOUT_S} s; `wandb sync` sends the rest")
        elif failures:
            self._note(f"wandb did not finish: {type(failures[0]).__name__}: {failures[0]}")


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

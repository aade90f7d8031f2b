"""TensorBoard and trackio, through the trainer's own integrations (`run.report_to`), with the metrics of our table.

The integrations are callbacks of transformers. They open and describe the run as in any trainer; of its logs nothing
is taken, since the loop's metrics have all of them under the names they have everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.integrations import TensorBoardCallback
from transformers.integrations.integration_utils import TrackioCallback

from rltrain.terminal import typed
from rltrain.tracking import Tracker


class TensorBoard(TensorBoardCallback, Tracker):
    """Event files in `tensorboard/` of the run directory."""

    name = "tensorboard"

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.logging_dir = str(run_dir / "tensorboard")

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """After --resume, what was written of later steps is taken back."""
        if state.is_world_process_zero and state.global_step:
            self.tb_writer = self._SummaryWriter(log_dir=self.logging_dir, purge_step=state.global_step + 1)
        super().on_train_begin(args, state, control, **given)

    def on_log(self, *_: Any, **__: Any) -> None:
        """Nothing: see above."""

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Nothing: the loop writes down the last step after this."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.tb_writer.add_scalar(name, value, step)
        self.tb_writer.flush()

    def told(self) -> list[str]:
        return [f"tensorboard  {typed('tensorboard')} --logdir {self.logging_dir}"]

    def close(self) -> None:
        if self.tb_writer is not None:
            self.tb_writer.close()


class Trackio(TrackioCallback, Tracker):
    """The project `rltrain` of the local trackio, whose library is not part of the environment."""

    name = "trackio"

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self._run_name = run_dir.name

    def setup(self, args: Any, state: Any, model: Any, **given: Any) -> None:
        """Under the names the run has elsewhere."""
        args.project, args.run_name = "rltrain", self._run_name
        super().setup(args, state, model, **given)

    def on_log(self, *_: Any, **__: Any) -> None:
        """Nothing: see above."""

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Nothing: the loop writes down the last step after this."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._trackio.log(dict(metrics), step=step)

    def told(self) -> list[str]:
        return [f"trackio    {typed('trackio')} show --project rltrain"]

    def close(self) -> None:
        if self._initialized:
            self._trackio.finish()


INTEGRATIONS = {"tensorboard": TensorBoard, "trackio": Trackio}


def integrations(names: Sequence[str], run_dir: Path) -> list[TensorBoard | Trackio]:
    """Callbacks for the trainer, which are trackers for the loop."""
    return [INTEGRATIONS[name](run_dir) for name in names]

"""What was asked for, placed: nothing of another run is written over."""

import contextlib

import pytest

from rltrain import config, order
from rltrain.config import dump
from rltrain.records import RunDir


def placed(directory, *overrides):
    loaded = config.load("quickstart", overrides)
    with contextlib.ExitStack() as held:
        return order.place(loaded, "quickstart", resume=str(directory), asked=loaded, faults=(), held=held)


@pytest.fixture
def begun(tmp_path):
    """A run that made a step and no checkpoint."""
    made = RunDir.create(tmp_path / "run", dump(config.load("quickstart", [])), {})
    made.log_metrics(1, {"reward/mean": 0.5})
    made.close()
    return made.path


def test_a_run_without_a_checkpoint_keeps_its_config_from_another(begun):
    before = (begun / "config.yaml").read_text(), (begun / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"run is of another config: training\.learning_rate was .*, is 0\.5"):
        placed(begun, "training.learning_rate=0.5")
    assert before == ((begun / "config.yaml").read_text(), (begun / "metrics.jsonl").read_text())


def test_a_run_without_a_checkpoint_begins_anew_under_its_own(begun):
    assert placed(begun, "training.steps=7").resume is None
    assert (begun / "metrics.jsonl").read_text() == ""


def test_data_that_cannot_be_had_is_told_before_a_directory_is_made(tmp_path, monkeypatch):
    import datasets

    def nowhere(*_given, **_named):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", nowhere)
    given = ["tasks=[{use: hub, args: {dataset: gsm8k}}]", "rewards=[{use: numeric}]", "model.path=tiny"]
    loaded = config.load("quickstart", [*given, "rollouts.engine=transformers", f"run.dir={tmp_path / 'run'}"])
    held = contextlib.ExitStack()
    with held, pytest.raises(ValueError, match=r"dataset openai/gsm8k: no network. Download it where"):
        order.place(loaded, "quickstart", resume=None, asked=None, faults=(), held=held)
    assert list(tmp_path.iterdir()) == []

"""`make system`: what pip cannot install."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *{bad}*) echo "apt: no {bad} here" >&2; exit 100;; esac
"""


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The installer on a machine with nothing but an apt that writes down what it is told and has no chromium."""
    spec = importlib.util.spec_from_file_location("system", HOUSE / "requirements" / "system.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    apt = tmp_path / "apt-get"
    apt.write_text(APT.format(log=tmp_path / "log", bad="chromium"))
    apt.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "missing", lambda: ["g++", "chromium", "libnuma1"])
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return module


def test_one_package_that_is_not_to_be_had_keeps_no_other_away(system, tmp_path, capfd) -> None:
    assert system.main() == 1
    told = (tmp_path / "log").read_text().splitlines()
    assert told[0].startswith("update") and [line.split()[-1] for line in told[1:]] == ["g++", "chromium", "libnuma1"]
    assert "still missing: chromium" in (said := capfd.readouterr().err) and "apt: no chromium here" in said


def test_without_root_the_command_is_named(system, monkeypatch, tmp_path, capfd) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert system.main() == 0
    assert "apt-get install" in (said := capfd.readouterr().out) and "g++ chromium libnuma1" in said
    assert not (tmp_path / "log").exists()

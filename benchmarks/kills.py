"""Kill a whole run at random moments, resume it, and compare with one that was never killed.

    python -m benchmarks.kills twin 10          final weights bit-equal, lag 0 and lag 1
    python -m benchmarks.kills quickstart 10    real vLLM: no gap, no repeat in the step sequence

A run is resumed at once after each kill; one that ends before all kills were made is followed by another. What of a
killed run is left is looked at thirty seconds after the kill. Writes benchmarks/results/kills-*.json.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import load_file

from rltrain.cluster import MARK
from rltrain.manifest import manifest

LEFT_AFTER_S = 30
CASES = {
    "twin": {
        "twin, lag 0": ["--twin", "checkpoints.every=2"],
        "twin, lag 1": ["--twin", "checkpoints.every=2", "rollouts.max_lag=1"],
    },
    "quickstart": {"vLLM": ["training.steps=6", "checkpoints.every=2", "evaluation.prompts=4"]},
}


def command(directory: Path, extra: list[str]) -> list[str]:
    """A run of the quickstart in a directory of its own."""
    common = [sys.executable, "-m", "rltrain", "train", "quickstart", f"run.dir={directory}", "run.console=false"]
    return [*common, *extra]


def killed_until_done(
    directory: Path, extra: list[str], kills: int, chance: random.Random, longest: float
) -> list[dict[str, Any]]:
    """Start, kill at a random moment, resume; until `kills` kills were made or the run is done."""
    seen: list[dict[str, Any]] = []
    with ThreadPoolExecutor() as lookouts:
        while True:
            resume = ["--resume"] if (directory / "config.yaml").exists() else []
            run = subprocess.Popen(
                command(directory, [*extra, *resume]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            moment = chance.uniform(1, longest) if len(seen) < kills else None
            try:
                _, errors = run.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                mark = _mark_of_children(run.pid)  # set while it runs, so its own environment as started lacks it
                os.kill(run.pid, signal.SIGKILL)
                run.wait()
                left = lookouts.submit(left_later, mark)
                seen.append({"after_s": round(moment, 1), "steps": len(steps_of(directory)), "left": left})
                print(f"kill after {moment:.0f} s, {seen[-1]['steps']} steps written", file=sys.stderr)
                continue
            assert run.returncode == 0, errors.decode()[-2000:]
            return [kill | {"left": kill["left"].result()} for kill in seen]


def left_later(mark: str | None) -> list[str]:
    """Processes of a run that are still there thirty seconds from now."""
    time.sleep(LEFT_AFTER_S)
    return left_of(mark)


def _mark_of_children(pid: int) -> str | None:
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if found := child.environ().get(MARK):
                return found
        except psutil.Error:
            continue
    return None


def left_of(mark: str | None) -> list[str]:
    """Processes of the run that are still there."""
    left = []
    for process in psutil.process_iter():
        try:
            if mark and process.environ().get(MARK) == mark:
                left.append(" ".join(process.cmdline())[:120])
        except psutil.Error:
            continue
    return left


def steps_of(directory: Path) -> list[int]:
    """Steps in the metrics file."""
    path = directory / "metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


def compared(whole: Path, extra: list[str], kills: int, longest: float, weights: bool) -> dict[str, Any]:
    """Runs with that many kills among them, each held against one that was never killed."""
    chance, seen, broken = random.Random(0), [], []
    while len(seen) < kills:
        broken.append(whole.with_name(f"broken-{len(broken)}"))
        seen += killed_until_done(broken[-1], extra, kills - len(seen), chance, longest)
    expected = steps_of(whole)
    assert expected == list(range(len(expected))), expected
    return {
        "kills": seen,
        "runs": len(broken),
        "left_behind": sum(len(kill["left"]) for kill in seen),
        "steps_without_gap_or_repeat": all(steps_of(run) == expected for run in broken),
        "weights_bit_equal": all(same_weights(whole, run) for run in broken) if weights else None,
    }


def same_weights(one: Path, other: Path) -> bool:
    """Whether the final models are equal bit for bit."""
    a, b = (load_file(run / "model" / "model.safetensors") for run in (one, other))
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def main(kind: str, kills: int) -> None:
    """All cases of a kind; prints one JSON object."""
    results = {}
    for name, extra in CASES[kind].items():
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "whole"
            begun = time.monotonic()
            subprocess.run(command(whole, extra), check=True, capture_output=True)
            results[name] = compared(whole, extra, kills, time.monotonic() - begun, kind == "twin")
    out = Path(__file__).parent / "results" / f"kills-{kind}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"manifest": manifest(), "results": results}, indent=1))
    print(json.dumps({name: {k: v for k, v in r.items() if k != "kills"} for name, r in results.items()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

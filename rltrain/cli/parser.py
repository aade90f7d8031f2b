"""What can be typed: every command with its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rltrain.cli import commands

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    made = argparse.ArgumentParser(
        prog="rltrain", description="RL post-training that can tell which phase of learning a run is in."
    )
    subparsers = made.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=text, description=text)
        sub.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
        sub.set_defaults(command=function)
        return sub

    for group in (_run_commands, _look_commands, _text_commands, _kit_commands):
        group(add)
    return made


def _run_commands(add: Add) -> None:
    """The commands that train or sample."""
    sub = add("train", commands.train, "run a config to its end")
    _config_arguments(sub)
    sub.add_argument("--resume", nargs="?", const="", metavar="RUN", help="go on with RUN, or this config's newest run")
    sub.add_argument("--twin", action="store_true", help="the same run on a CPU in under a minute, with a tiny model")
    told = "break something on purpose: kill, hang (noticed after rollouts.deadline_s), slow, stale, nan"
    sub.add_argument("--fault", action="append", default=[], metavar="KIND@STEP", help=told)

    sub = add("check", commands.check, "everything that can be known without a GPU or a download")
    _config_arguments(sub)

    sub = add("eval", commands.evaluate, "held-out evaluation: pass@k of a run and its base on the same prompts")
    sub.add_argument("run", help="a run directory or name, or a model")
    told = "of the run's config, for example distributed.ray_address=null"
    sub.add_argument("overrides", nargs="*", metavar="key=value", help=told)
    sub.add_argument("--config", help="tasks and rewards for a model that is no run")
    sub.add_argument("--prompts", type=int, help="held-out prompts (default: the config's)")
    sub.add_argument("--num-generations", type=int, default=8, help="completions per prompt (default 8)")

    sub = add("bwt", commands.bwt, "what training on each source alone does to the others, and the order that follows")
    _config_arguments(sub)
    sub.add_argument("--twin", action="store_true", help="the same on a CPU in minutes, with a tiny model")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where to measure and go on (default: runs/<config>-bwt)")
    sub.add_argument("--steps", type=_positive, help="of each run (default: training.steps, shared by the sources)")
    sub.add_argument("--parallel", type=_positive, help="runs at once (default: as many as there are cores for)")


def _look_commands(add: Add) -> None:
    """The commands that show a run."""
    sub = add("report", commands.report, "one self-contained HTML file")
    sub.add_argument("runs", nargs="+", help="run directories or names")
    sub.add_argument("--out", type=Path, help="the file (default: report.html in the run; of several, beside them)")

    sub = add("dashboard", commands.dashboard, "the report's pictures and every completion, live in a browser")
    sub.add_argument("runs", nargs="?", help="a directory of runs, or a run (default: runs)")
    sub.add_argument("--host", default="127.0.0.1", help="address to listen on; another than loopback wants a token")
    sub.add_argument("--port", type=int, default=7117, help="port to listen on, 0 for any free one (default 7117)")
    sub.add_argument("--token", help="what a browser must know (default: none on loopback, else one is made)")

    sub = add("status", commands.status, "one screen for a terminal")
    sub.add_argument("run", help="a run directory or name")
    sub.add_argument("--watch", action="store_true", help="follow it until its last step, or Ctrl-C")


def _text_commands(add: Add) -> None:
    """The commands that read or write texts."""
    sub = add("diagnose", commands.diagnose, "the diagnostics over rollouts that exist: a run's, or TRL's completions")
    sub.add_argument("path", type=Path, help="a run, TRL's output directory, a folder of .parquet files, or one file")
    sub.add_argument("--out", type=Path, metavar="DIR", help="a new directory (default: PATH/diagnosis)")
    sub.add_argument("--also", nargs="+", default=[], metavar="NAME", help="diagnostics beside the usual ones")
    sub.add_argument("--scorer", metavar="MODEL", help="frozen model for diagnostics that ask for one (infogain)")
    sub.add_argument("--outcome", metavar="NAME", help="which of TRL's rewards is the task's result in [0, 1]")
    sub.add_argument("--tagger", metavar="SPEC", help="mark planning phrases anew, by this tagger")
    sub.add_argument("--lexicon", type=Path, metavar="FILE", help="mark the phrases of this file: `--tagger lexicon`")
    sub.add_argument("--formats", metavar="SPEC", help="name formats anew, by this classifier")

    sub = add("tag", commands.tag, "planning spans and format of each text of a JSONL file")
    sub.add_argument("file", type=Path, help="a line holds an object with `text` or `completion`")
    sub.add_argument("--tagger", metavar="SPEC", help="a tagger's name or module:attr (default: network)")
    sub.add_argument("--lexicon", type=Path, metavar="FILE", help="mark the phrases of this file: `--tagger lexicon`")
    sub.add_argument("--formats", default="rules", metavar="SPEC", help="a format classifier's name or module:attr")

    grams = add("grams", commands.grams, "strategic grams from a run's correct completions: `rltrain grams mine PATH`")
    grams.add_argument("action", choices=["mine"], help="find them")
    grams.add_argument("path", type=Path, help="a run, a directory of .parquet files, or a .parquet or .jsonl file")
    grams.add_argument("--out", type=Path, metavar="FILE", help="the lexicon file (default: print it)")
    grams.add_argument("--seed", type=int, default=0, help="the same seed, the same grams (default 0)")

    sub = add(
        "augment", commands.augment, "a task file with reasoning traces that a model writes, for fine-tuning before RL"
    )
    sub.add_argument("file", type=Path, help="tasks: a .jsonl or .parquet file with prompt, answer, level")
    sub.add_argument(
        "overrides", nargs="*", metavar="key=value", help="who writes: model=, url=, and the keys of `judge`"
    )
    sub.add_argument("--out", type=Path, metavar="FILE", help="the file (default: FILE.augmented.jsonl)")
    sub.add_argument("--config", help="its outcome rewards decide which traces are kept: those that end right")
    sub.add_argument("--samples", type=int, default=1, help="traces of each prompt (default 1)")
    sub.add_argument("--max-tokens", type=int, default=1024, help="longest trace in tokens (default 1024)")
    sub.add_argument("--temperature", type=float, default=0.7, help="sampling temperature (default 0.7)")


def _kit_commands(add: Add) -> None:
    """The commands of those who write plugins."""
    sub = add("new", commands.new, "a working plugin file and its test: `rltrain new reward NAME`")
    sub.add_argument("kind", choices=["reward", "curriculum", "diagnostic"], help="what to begin")
    sub.add_argument("name", help="writes NAME.py and test_NAME.py here")

    sub = add(
        "plugin",
        commands.plugin,
        "try a reward, curriculum or diagnostic against its contract: `rltrain plugin check SPEC`",
    )
    sub.add_argument("action", choices=["check"], help="signature, determinism, time, gold and adversarial completions")
    _reward_arguments(sub)
    sub.add_argument("--file", type=Path, metavar="ROWS", help="JSONL rows whose completion must score 1")

    sub = add("try", commands.try_, "what a reward says of one completion, or of each row of a file")
    _reward_arguments(sub)
    sub.add_argument("--task", default="", help="the prompt, or JSON with prompt, answer, meta")
    sub.add_argument("--answer", help="the task's answer")
    sub.add_argument("--completion", help="the text to judge")
    sub.add_argument("--file", type=Path, metavar="ROWS", help="JSONL rows of prompt, completion, answer, meta")

    sub = add("plugins", commands.plugins, "what is installed and where it comes from")
    sub.add_argument("kind", nargs="?", help="rewards, curricula, diagnostics, tasks, taggers, formats")


def _config_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("config", help="a YAML file, or the name of a shipped config")
    sub.add_argument("overrides", nargs="*", metavar="key=value", help="for example training.steps=20")


def _reward_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("spec", help="a reward's name, NAME for NAME.py here, file.py:attr or module:attr")
    sub.add_argument("overrides", nargs="*", metavar="key=value", help="its arguments, for example tolerance=0.01")
    sub.add_argument("--role", choices=["outcome", "shaping"], default="outcome", help="its role in a run")
    sub.add_argument("--timeout-s", type=float, default=10.0, help="seconds one call may take (default 10)")
    sub.add_argument("--judge", metavar="URL", help="address of a judge, for rewards that ask for one")
    sub.add_argument("--judge-model", metavar="NAME", help="its model's name there; alone, a model to judge here")
    sub.add_argument("--judge-key", metavar="VARIABLE", help="environment variable that holds the key to it")
    sub.add_argument("--scorer", metavar="MODEL", help="frozen model, for rewards that ask for one (fluency)")


def _positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number

"""The command line. Imports what a command needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rltrain.judging import BoundReward


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the run failed, 2 the input is wrong."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    # argparse ends a list of positionals at the first option; overrides may stand on both sides of one
    if stray := [item for item in rest if item.startswith("-") or not hasattr(arguments, "overrides")]:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        arguments.overrides += rest
    try:
        return arguments.command(arguments) or 0
    except ValueError as error:
        return _say(error, 2, arguments.verbose)
    except KeyboardInterrupt:
        return _say(KeyboardInterrupt("interrupted"), 130, arguments.verbose)
    except Exception as error:  # the last stop: one line for the person, the traceback with -v
        return _say(error, 1, arguments.verbose)


def _say(error: BaseException, status: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exception(error)
    text = str(error) or type(error).__name__
    lead = "error" if status == 2 else "failed"
    print(f"rltrain: {lead}: {text}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rltrain", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.description = "RL post-training that can tell which phase of learning a run is in."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
        sub.set_defaults(command=function)
        return sub

    sub = add("train", _train, "run a config to its end")
    _config_arguments(sub)
    sub.add_argument("--resume", nargs="?", const="", metavar="RUN", help="go on with RUN, or this config's newest run")
    sub.add_argument("--twin", action="store_true", help="the same run on a CPU in under a minute, with a tiny model")
    sub.add_argument("--fault", action="append", default=[], metavar="KIND@STEP", help="break something on purpose")

    sub = add("check", _check, "everything that can be known without a GPU or a download")
    _config_arguments(sub)

    sub = add("eval", _eval, "held-out evaluation: pass@k of a run and its base on the same prompts")
    sub.add_argument("run", help="a run directory or name, or a model")
    sub.add_argument("--config", help="tasks and rewards for a model that is no run")
    sub.add_argument("--prompts", type=int, help="held-out prompts (default: the config's)")
    sub.add_argument("--num-generations", type=int, default=8, help="completions per prompt (default 8)")

    sub = add("report", _report, "one self-contained HTML file")
    sub.add_argument("runs", nargs="+", help="run directories or names")
    sub.add_argument("--out", type=Path, help="the file (default: report.html in the first run)")

    sub = add("status", _status, "one screen for a terminal")
    sub.add_argument("run", help="a run directory or name")

    sub = add("diagnose", _diagnose, "all diagnostics over rollouts that exist: a run's, or TRL's completions")
    sub.add_argument("path", type=Path, help="a run, TRL's output directory, a folder of .parquet files, or one file")
    sub.add_argument("--out", type=Path, metavar="DIR", help="a new directory (default: PATH/diagnosis)")
    sub.add_argument("--also", nargs="+", default=[], metavar="NAME", help="diagnostics beside the usual ones")
    sub.add_argument("--scorer", metavar="MODEL", help="frozen model for diagnostics that ask for one (infogain)")

    sub = add("tag", _tag, "planning spans and format of each text of a JSONL file")
    sub.add_argument("file", type=Path, help="a line holds an object with `text` or `completion`")
    sub.add_argument("--tagger", metavar="SPEC", help="a tagger's name or module:attr (default: cues)")
    sub.add_argument("--lexicon", type=Path, metavar="FILE", help="mark the phrases of this file: `--tagger lexicon`")
    sub.add_argument("--formats", default="rules", metavar="SPEC", help="a format classifier's name or module:attr")

    grams = add("grams", _grams, "strategic grams from a run's correct completions: `rltrain grams mine PATH`")
    grams.add_argument("action", choices=["mine"], help="find them")
    grams.add_argument("path", type=Path, help="a run, a directory of .parquet files, or a .parquet or .jsonl file")
    grams.add_argument("--out", type=Path, metavar="FILE", help="the lexicon file (default: print it)")
    grams.add_argument("--seed", type=int, default=0, help="the same seed, the same grams (default 0)")

    _augment_command(add)
    _kit_commands(add)
    sub = add("plugins", _plugins, "what is installed and where it comes from")
    sub.add_argument("kind", nargs="?", help="rewards, curricula, diagnostics, tasks, taggers, formats")
    return parser


def _augment_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The command that prepares tasks."""
    sub = add("augment", _augment, "a task file with reasoning traces that a model writes, for fine-tuning before RL")
    sub.add_argument("file", type=Path, help="tasks: a .jsonl or .parquet file with prompt, answer, level")
    sub.add_argument(
        "overrides", nargs="*", metavar="key=value", help="who writes: model=, url=, and the keys of `judge`"
    )
    sub.add_argument("--out", type=Path, metavar="FILE", help="the file (default: FILE.augmented.jsonl)")
    sub.add_argument("--config", help="its outcome rewards decide which traces are kept: those that end right")
    sub.add_argument("--samples", type=int, default=1, help="traces of each prompt (default 1)")
    sub.add_argument("--max-tokens", type=int, default=1024, help="longest trace in tokens (default 1024)")
    sub.add_argument("--temperature", type=float, default=0.7, help="sampling temperature (default 0.7)")


def _kit_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands of those who write plugins."""
    sub = add("new", _new, "a working plugin file and its test: `rltrain new reward NAME`")
    sub.add_argument("kind", choices=["reward", "curriculum", "diagnostic"], help="what to begin")
    sub.add_argument("name", help="writes NAME.py and test_NAME.py here")

    sub = add(
        "plugin", _plugin, "try a reward, curriculum or diagnostic against its contract: `rltrain plugin check SPEC`"
    )
    sub.add_argument("action", choices=["check"], help="signature, determinism, time, gold and adversarial completions")
    _reward_arguments(sub)
    sub.add_argument("--file", type=Path, metavar="ROWS", help="JSONL rows whose completion must score 1")

    sub = add("try", _try, "what a reward says of one completion, or of each row of a file")
    _reward_arguments(sub)
    sub.add_argument("--task", default="", help="the prompt, or JSON with prompt, answer, meta")
    sub.add_argument("--answer", help="the task's answer")
    sub.add_argument("--completion", help="the text to judge")
    sub.add_argument("--file", type=Path, metavar="ROWS", help="JSONL rows of prompt, completion, answer, meta")


def _config_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("config", help="a YAML file, or the name of a shipped config")
    sub.add_argument("overrides", nargs="*", metavar="key=value", help="for example training.steps=20")


def _reward_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("spec", help="a reward's name, NAME for NAME.py here, file.py:attr or module:attr")
    sub.add_argument("overrides", nargs="*", metavar="key=value", help="its arguments, for example tolerance=0.01")
    sub.add_argument("--role", choices=["outcome", "shaping"], default="outcome", help="its role in a run")
    sub.add_argument("--timeout-s", type=float, default=10.0, help="seconds one call may take (default 10)")
    sub.add_argument("--judge", metavar="URL", help="address of a judge, for rewards that ask for one")
    sub.add_argument("--judge-model", metavar="NAME", help="its model's name there")
    sub.add_argument("--judge-key", metavar="VARIABLE", help="environment variable that holds the key to it")
    sub.add_argument("--scorer", metavar="MODEL", help="frozen model, for rewards that ask for one (fluency)")


def _train(arguments: argparse.Namespace) -> int:
    from rltrain import config, launch

    resume = arguments.resume
    if resume and "=" in resume and not Path(resume).exists():  # `--resume key=value`: the newest run, and an override
        arguments.overrides.append(resume)
        resume = ""
    loaded = config.load(arguments.config, arguments.overrides)
    stem = config.find(arguments.config).stem
    launch.train(loaded, stem, resume=resume, twin=arguments.twin, faults=arguments.fault)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from rltrain import check, config

    return check.main(config.load(arguments.config, arguments.overrides))


def _eval(arguments: argparse.Namespace) -> int:
    from rltrain import compare

    compare.main(arguments.run, arguments.config, arguments.prompts, arguments.num_generations)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from rltrain import plugins

    runs = [_run(name) for name in arguments.runs]
    write = plugins.resolve("html", "rltrain.reports")
    print(write(runs, arguments.out or runs[0] / "report.html", resolve=plugins.resolve))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from rltrain.records import load_run
    from rltrain.status import render

    Console().print(render(load_run(_run(arguments.run))))
    return 0


def _diagnose(arguments: argparse.Namespace) -> int:
    from rltrain import diagnose

    diagnose.main(arguments.path, arguments.out, arguments.also, arguments.scorer)
    return 0


def _tag(arguments: argparse.Namespace) -> int:
    from rltrain import tag

    tag.main(arguments.file, arguments.tagger, arguments.formats, arguments.lexicon)
    return 0


def _grams(arguments: argparse.Namespace) -> int:
    from rltrain import plugins

    mine = plugins.resolve("grams_mine", "rltrain.commands")
    mine(_run(str(arguments.path)), arguments.out, arguments.seed)
    return 0


def _augment(arguments: argparse.Namespace) -> int:
    from rltrain import augment, config

    augment.main(augment.wish(arguments), config.load(arguments.config) if arguments.config else None)
    return 0


def _new(arguments: argparse.Namespace) -> int:
    from rltrain.kit import template

    name = arguments.name
    written = template.new(arguments.kind, name, Path())
    print(f"wrote {' and '.join(map(str, written))}. Next: rltrain plugin check {name}; pytest test_{name}.py")
    print(f"in a config: {template.in_config(arguments.kind, name)}")
    return 0


def _plugin(arguments: argparse.Namespace) -> int:
    from rltrain.kit import contract, loop_plugins, rows
    from rltrain.kit.lent import TRIAL

    kind, spec = rows.find(arguments.spec)
    if kind == "reward":
        return contract.main(_reward(arguments, TRIAL), arguments.file)
    return loop_plugins.main(kind, spec, arguments.overrides)


def _try(arguments: argparse.Namespace) -> int:
    from rltrain.kit import rows, trying

    if (arguments.completion is None) == (arguments.file is None):
        raise ValueError("try: expected either --completion TEXT or --file ROWS.jsonl")
    if arguments.file is not None:
        return trying.file(_reward(arguments), arguments.file)
    row = rows.given(arguments.task, arguments.answer, arguments.completion)
    return trying.one(_reward(arguments), row)


def _reward(arguments: argparse.Namespace, otherwise: Mapping[str, object] = {}) -> BoundReward:
    """The reward that is named; it is lent what the options name, and `otherwise` what they do not."""
    from rltrain.kit import lent, rows

    given = lent.lent(arguments.judge, arguments.judge_model, arguments.judge_key, arguments.scorer)
    return rows.reward(
        arguments.spec,
        arguments.overrides,
        role=arguments.role,
        timeout_s=arguments.timeout_s,
        lent={**otherwise, **given},
    )


def _plugins(arguments: argparse.Namespace) -> int:
    from rltrain import plugins

    kinds = ("rewards", "curricula", "diagnostics", "tasks", "taggers", "formats", "reports", "commands")
    if arguments.kind not in (None, *kinds):
        raise ValueError(f"plugins {arguments.kind!r}: expected one of {', '.join(kinds)}")
    for kind in [arguments.kind] if arguments.kind else kinds:
        for found in plugins.installed(f"rltrain.{kind}"):
            print(f"{kind:12} {found.name:18} {found.target:44} {found.file}")
    return 0


def _run(name: str) -> Path:
    """A run directory by path, or by its name under runs/."""
    return Path(name) if Path(name).exists() else Path("runs") / name

"""What each command does: arguments in, exit status out. Each imports what it needs when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rltrain.judging import BoundReward


def train(arguments: argparse.Namespace) -> int:
    """Run a config, or go on with a run."""
    from rltrain import config, launch

    resume = arguments.resume
    if resume and "=" in resume and not Path(resume).exists():  # `--resume key=value`: the newest run, and an override
        arguments.overrides.append(resume)
        resume = ""
    loaded = config.load(arguments.config, arguments.overrides)
    stem = config.find(arguments.config).stem
    launch.train(loaded, stem, resume=resume, twin=arguments.twin, faults=arguments.fault)
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Say what can be known before a run."""
    from rltrain import check, config

    return check.main(config.load(arguments.config, arguments.overrides))


def evaluate(arguments: argparse.Namespace) -> int:
    """Compare run and base on the same prompts."""
    from rltrain import compare

    given = (arguments.run, arguments.config, arguments.prompts, arguments.num_generations)
    compare.main(*given, overrides=arguments.overrides)
    return 0


def bwt(arguments: argparse.Namespace) -> int:
    """Measure what each source does to the others."""
    from rltrain import bwt, config

    loaded = config.load(arguments.config, arguments.overrides)
    stem = config.find(arguments.config).stem
    given = {name: getattr(arguments, name) for name in ("twin", "out", "steps", "parallel")}
    bwt.main(loaded, stem, **given)
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the HTML file."""
    from rltrain import plugins

    runs = [_run(name) for name in arguments.runs]
    write = plugins.resolve("html", "rltrain.reports")
    print(f"report     {write(runs, arguments.out, resolve=plugins.resolve)}   open it in a browser")
    return 0


def dashboard(arguments: argparse.Namespace) -> int:
    """Serve the pages until Ctrl-C."""
    from rltrain import plugins

    runs = Path("runs") if arguments.runs is None else _run(arguments.runs)
    serve = plugins.resolve("dashboard", "rltrain.reports")
    serve(runs, arguments.host, arguments.port, arguments.token)
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Print the screen, or follow the run."""
    from rltrain import status
    from rltrain.console import Console, Terminal
    from rltrain.records import load_run

    path = _run(arguments.run)
    if not arguments.watch:
        Terminal().print(status.render(load_run(path)))
        return 0
    console = Console()
    try:
        status.watch(path, console)
    except KeyboardInterrupt:  # how a person ends it
        pass
    finally:
        console.close()
    return 0


def diagnose(arguments: argparse.Namespace) -> int:
    """Run the diagnostics over rollouts."""
    from rltrain import diagnose

    wish = diagnose.Wish(**{name: getattr(arguments, name) for name in diagnose.Wish._fields})
    diagnose.main(arguments.path, arguments.out, wish)
    return 0


def tag(arguments: argparse.Namespace) -> int:
    """Print spans and formats."""
    from rltrain import tag

    tag.main(arguments.file, arguments.tagger, arguments.formats, arguments.lexicon)
    return 0


def grams(arguments: argparse.Namespace) -> int:
    """Mine grams."""
    from rltrain import plugins

    mine = plugins.resolve("grams_mine", "rltrain.commands")
    mine(_run(str(arguments.path)), arguments.out, arguments.seed)
    return 0


def augment(arguments: argparse.Namespace) -> int:
    """Write reasoning traces."""
    from rltrain import augment, config

    augment.main(augment.wish(arguments), config.load(arguments.config) if arguments.config else None)
    return 0


def new(arguments: argparse.Namespace) -> int:
    """Write a plugin and its test."""
    from rltrain.kit import template

    name = arguments.name
    written = template.new(arguments.kind, name, Path())
    print(f"wrote {' and '.join(map(str, written))}. Next: rltrain plugin check {name}; pytest test_{name}.py")
    print(f"in a config: {template.in_config(arguments.kind, name)}")
    return 0


def plugin(arguments: argparse.Namespace) -> int:
    """Try a plugin against its contract."""
    from rltrain.kit import contract, loop_plugins, rows
    from rltrain.kit.lent import TRIAL

    kind, spec = rows.find(arguments.spec)
    if kind == "reward":
        return contract.main(_reward(arguments, TRIAL), arguments.file)
    return loop_plugins.main(kind, spec, arguments.overrides)


def try_(arguments: argparse.Namespace) -> int:
    """Score one completion, or a file of them."""
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


def plugins(arguments: argparse.Namespace) -> int:
    """List what is installed."""
    from rltrain import plugins

    kinds = ("rewards", "curricula", "diagnostics", "tasks", "taggers", "formats", "figures", "reports", "commands")
    if arguments.kind not in (None, *kinds):
        raise ValueError(f"plugins {arguments.kind!r}: expected one of {', '.join(kinds)}")
    for kind in [arguments.kind] if arguments.kind else kinds:
        for found in plugins.installed(f"rltrain.{kind}"):
            print(f"{kind:12} {found.name:18} {found.target:44} {found.file}")
    return 0


def _run(name: str) -> Path:
    """A run directory by path, or by its name under runs/."""
    return Path(name) if Path(name).exists() else Path("runs") / name

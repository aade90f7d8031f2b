"""`rltrain check`: everything that can be known without a GPU, a download or Ray, in seconds.

Each line is ok, an error, a warning, or not checked here because of something that is named. What is
marked ok does not fail in `train` for that reason: `train` asks `preflight` for the same verdicts.
"""

from __future__ import annotations

import shutil

from rltrain import plugins
from rltrain.check import model, rewards, sources, trials
from rltrain.check.advice import advice
from rltrain.check.arguments import check_arguments
from rltrain.check.arithmetic import arithmetic, placement
from rltrain.check.loss import loss_in_words
from rltrain.check.memory import memory
from rltrain.check.verdicts import Section, errors, show
from rltrain.check.writable import check_trackers, check_writable
from rltrain.config import Config


def main(config: Config) -> int:
    """Print all sections. 0 without errors, else 2."""
    from rich.console import Console

    console = Console(highlight=False, width=shutil.get_terminal_size((120, 24)).columns)
    sections = look(config)
    for section in sections:
        show(section, console)
    found = errors(sections)
    verdicts = [line.verdict for section in sections for line in section.lines]
    rest = f"{verdicts.count('warning')} warning(s), {verdicts.count('unchecked')} not checked here"
    console.print(f"{len(found)} error(s), {rest}", style="bold red" if found else "bold green")
    return 2 if found else 0


def look(config: Config) -> list[Section]:
    """All sections, in the order of the data's way through a run."""
    run = _run(config)
    task_section, tasks = sources.check_tasks(config)
    reward_section, scores = rewards.check_rewards(config, tasks)
    sections = [
        run,
        task_section,
        reward_section,
        trials.check_curriculum(config, tasks, scores),
        trials.check_readers(config, tasks, scores),
    ]
    trl_section, trl = check_arguments(config)
    model_section, facts = model.check_model(config, tasks)
    sections += [model_section, arithmetic(config), placement(config)]
    if facts is not None:
        sections.append(memory(config, facts))
    if trl is not None:
        sections.append(loss_in_words(config, trl))
    return [*sections, trl_section, advice(config)]


def preflight(config: Config, *, twin: bool) -> None:
    """What a person could have got wrong, before a run directory is made: ValueError with all of it.

    Rewards are bound but not called: in a run they are called by processes of their own.
    """
    check_writable(config)
    check_trackers(config)
    task_section, tasks = sources.check_tasks(config, twin=twin)
    reward_section, _ = rewards.check_rewards(config, tasks, tried=False)
    readers = trials.check_readers(config, tasks, {})
    trl_section, _ = check_arguments(config)
    curriculum = trials.check_curriculum(config, tasks, {})
    found = errors([task_section, reward_section, curriculum, readers, trl_section, placement(config)])
    if found:
        raise ValueError("\n  ".join(found))


def _run(config: Config) -> Section:
    """The config was read, and the run's name is free."""
    from rltrain.order import named_directory

    section = Section("config")
    section.ok("all keys known, all values of their type")
    section.attempt("packages", plugins.check_shadowing)
    section.attempt("run", lambda: check_writable(config))
    section.attempt("run.report_to", lambda: check_trackers(config))
    place = None if errors([section]) else section.attempt("run", lambda: named_directory(config))
    if place is not None:
        section.ok(f"run directory {place} is free")
    return section

"""`rltrain check`: everything that can be known without a GPU, a download or Ray, in seconds.

Each line is ok, an error, a warning, or not checked here because of something that is named. `train` asks `preflight`,
which refuses over the same list: what is marked ok does not fail in `train` for that reason, and what is an error here
does not get past its start.
"""

from __future__ import annotations

import shutil

from rltrain import plugins
from rltrain.check import model, rewards, sources, trials
from rltrain.check.actions import check_actions
from rltrain.check.advice import advice
from rltrain.check.arguments import check_arguments
from rltrain.check.arithmetic import arithmetic, placement
from rltrain.check.loss import loss_in_words
from rltrain.check.memory import memory
from rltrain.check.room import check_room
from rltrain.check.sources import Tasks
from rltrain.check.verdicts import Section, errors, show
from rltrain.check.writable import check_trackers, check_writable
from rltrain.config import Config


def main(config: Config) -> int:
    """Print all sections. 0 without errors, else 2."""
    from rich.console import Console

    console = Console(highlight=False, width=shutil.get_terminal_size((120, 24)).columns)
    sections = [_name(config), *look(config)]
    for section in sections:
        show(section, console)
    found = errors(sections)
    verdicts = [line.verdict for section in sections for line in section.lines]
    rest = f"{verdicts.count('warning')} warning(s), {verdicts.count('unchecked')} not checked here"
    console.print(f"{len(found)} error(s), {rest}", style="bold red" if found else "bold green")
    return 2 if found else 0


def preflight(config: Config, *, asked: Config | None = None) -> None:
    """What a person could have got wrong, before a run directory is made: ValueError with all of it.

    `asked`: the config that this one is the twin of. Rewards are called last, since each wants a process; a twin's are
    not, for the twin itself is their trial.
    """
    read = sources.check_tasks(config, twin=asked is not None)
    found = errors(look(config, read, asked=asked, tried=False))
    if not found and asked is None:
        found = errors([rewards.check_rewards(config, read[1])[0]])
    if found:
        raise ValueError("\n  ".join(dict.fromkeys(found)))


def look(
    config: Config, read: tuple[Section, Tasks] | None = None, *, asked: Config | None = None, tried: bool = True
) -> list[Section]:
    """All sections, in the order of the data's way through a run.

    `read`: what `sources.check_tasks` said; `asked`: the config that this one is the twin of, whose model is looked at
    too; `tried`: call the rewards.
    """
    task_section, tasks = read or sources.check_tasks(config)
    reward_section, scores = rewards.check_rewards(config, tasks, tried=tried)
    sections = [
        _surroundings(config),
        task_section,
        reward_section,
        trials.check_curriculum(config, tasks, scores),
        trials.check_readers(config, tasks, scores),
        check_actions(config),
    ]
    trl_section, trl = check_arguments(config)
    model_section, facts = model.check_model(config, tasks)
    sections += [model_section, *([model.check_replaced(asked, tasks)] if asked else [])]
    sections += [arithmetic(config), placement(config), check_room(config, facts)]
    if facts is not None:
        sections.append(memory(config, facts))
    if trl is not None:
        sections.append(loss_in_words(config, trl))
    return [*(section for section in sections if section.lines), trl_section, advice(config)]


def _surroundings(config: Config) -> Section:
    """The packages are ours, the directory can be written, the trackers are there."""
    section = Section("config")
    section.ok("all keys known, all values of their type")
    section.attempt("packages", plugins.check_shadowing)
    section.attempt("run", lambda: check_writable(config))
    section.attempt("run.report_to", lambda: check_trackers(config))
    return section


def _name(config: Config) -> Section:
    """The run's name is free; a run that goes on has its own."""
    from rltrain.order import named_directory

    section = Section("run")
    place = section.attempt("run", lambda: named_directory(config))
    if place is not None:
        section.ok(f"run directory {place} is free")
    elif not errors([section]):
        section.ok("runs/ has the next free number for it")
    return section

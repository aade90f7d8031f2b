"""What `rltrain check` says: sections of lines, each with a verdict."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

Verdict = Literal["ok", "error", "unchecked", "warning", "fact"]
MARKS: dict[Verdict, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "error": ("error", "bold red"),
    "unchecked": ("?", "yellow"),
    "warning": ("warning", "yellow"),
    "fact": ("", "dim"),
}
T = TypeVar("T")


class Line(NamedTuple):
    """One thing that was looked at, and what came of it."""

    verdict: Verdict
    text: str


@dataclass
class Section:
    """Lines under one heading, in the order they were found."""

    title: str
    lines: list[Line] = field(default_factory=list)

    def ok(self, text: str) -> None:
        """It was checked and holds."""
        self.lines.append(Line("ok", text))

    def fact(self, text: str) -> None:
        """Something that follows from the config."""
        self.lines.append(Line("fact", text))

    def warn(self, text: str) -> None:
        """Allowed, and probably not meant."""
        self.lines.append(Line("warning", text))

    def error(self, text: str) -> None:
        """A run would fail over this."""
        self.lines.append(Line("error", text))

    def unchecked(self, what: str, why: str) -> None:
        """It cannot be known on this machine or without a download."""
        self.lines.append(Line("unchecked", f"{what}: not checked here because {why}"))

    def attempt(self, what: str, call: Callable[[], T]) -> T | None:
        """What the call returns; None and an error line when it raises. Plugins may raise anything."""
        try:
            return call()
        except ValueError as error:
            text = str(error)
            name = what[what.find("'") :] if "'" in what else what  # the text may say: plugin 'mine'
            self.error(text if name in text else f"{what}: {text}")
        except (Exception, SystemExit) as error:  # somebody else's code: told with the line it happened at
            at = traceback.extract_tb(error.__traceback__)[-1]
            self.error(f"{what}: {type(error).__name__}: {error} ({at.filename}, line {at.lineno})")
        return None


def errors(sections: Iterable[Section]) -> list[str]:
    """The texts of all errors."""
    return [line.text for section in sections for line in section.lines if line.verdict == "error"]


def show(section: Section, console: Console) -> None:
    """Print a section: its title, then one line a finding."""
    from rich.table import Table
    from rich.text import Text

    from rltrain.terminal import printable

    table = Table.grid(padding=(0, 2))
    table.add_column(width=7)
    table.add_column(overflow="fold")
    for verdict, text in section.lines:
        mark, style = MARKS[verdict]
        table.add_row(Text(mark, style), Text("\n".join(printable(part) for part in text.splitlines())))
    console.print(Text(section.title, "bold"))
    console.print(table)
    console.print()


def where(found: Any) -> str:
    """The file a plugin is in, relative to here where that is shorter."""
    try:
        file = Path(inspect.getsourcefile(found) or "")
    except TypeError:  # built in, or an object without source
        return "built in"
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)

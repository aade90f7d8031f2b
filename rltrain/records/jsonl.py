"""JSON that any reader takes, one object a line, appended and rewritten without torn lines."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot carry, by U+FFFD; no other character moves."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def halves(text: str) -> int:
    """How many characters `clean` replaces."""
    return 0 if text.isascii() else len(_SURROGATE.findall(text))


def plain(value: Any) -> Any:
    """A JSON value for anything: NaN and infinities become null, unknown objects their text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return clean(str(value))


def encode(value: Any) -> str:
    """Compact JSON on one line."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(", ", ": "))


def append(path: Path, value: Any) -> None:
    """Append one object as a line of its own, whole or not at all.

    A line torn by an earlier crash is ended first. OSError if the disk refuses; the file is then as before.
    """
    line = encode(value).encode() + b"\n"
    with open(path, "a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = b"\n" + line
        try:
            if file.write(line) != len(line):  # a disk that fills up takes a part and reports nothing
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.truncate(path, size)
            raise


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file; lines that are torn or no object are left out, a missing file is empty."""
    try:
        file = open(path, "rb")  # noqa: SIM115 (one line is in memory at a time)
    except FileNotFoundError:
        return
    with file:
        yield from objects(file)


def objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects among lines."""
    return (value for line in lines if (value := parsed(line)) is not None)


def parsed(line: bytes | str) -> dict[str, Any] | None:
    """The object that a line holds; None for one that is torn or holds something else."""
    found = value_of(line)
    return found if isinstance(found, dict) else None


def value_of(text: bytes | str) -> Any:
    """The JSON value of a text; None for one that is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # bad UTF-8 is a ValueError too; brackets may be nested without end
        return None


def cause(error: OSError) -> str:
    """Why a file cannot be read or written, in the system's words, without its path."""
    return error.strerror or str(error)


def replace(path: Path, text: str | Iterable[str]) -> None:
    """Write a file, given whole or in parts, so that a reader sees the old or the new content and never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


def keep(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a file with the wanted objects only; torn lines go too."""
    if path.exists():
        replace(path, (encode(value) + "\n" for value in read(path) if wanted(value)))

"""The command line. Imports what a command needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import select
import sys
import traceback
from collections.abc import Sequence

from rltrain.cli.parser import parser
from rltrain.terminal import discard, printable

LONGEST = 4000  # most characters of a line of an error, which may quote what a model wrote


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the run failed, 2 the input is wrong."""
    typed = parser()
    arguments, rest = typed.parse_known_args(argv)
    # argparse ends a list of positionals at the first option; overrides may stand on both sides of one
    if stray := [item for item in rest if item.startswith("-") or not hasattr(arguments, "overrides")]:
        typed.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        arguments.overrides += rest
    try:
        status = arguments.command(arguments) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it can be told, and not after the last line of all
        return status
    except BrokenPipeError as error:
        return 0 if _unread() else _say(error, 1, arguments.verbose)
    except ValueError as error:
        return _say(error, 2, arguments.verbose)
    except KeyboardInterrupt:
        return _say(KeyboardInterrupt("interrupted"), 130, arguments.verbose)
    except Exception as error:  # the last stop: one line for the person, the traceback with -v
        _unread()
        return _say(error, 1, arguments.verbose)


def _unread() -> bool:
    """Whether the output takes nothing any more (`| head`, a full disk); what is still buffered then goes nowhere."""
    if sys.stdout is None:
        return False
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        gone = select.poll()
        gone.register(sys.stdout, select.POLLOUT)  # what was lost is not held back: the pipe is asked too
        if not any(event & select.POLLERR for _, event in gone.poll(0)):
            return False
    discard(sys.stdout)
    return True


def _say(error: BaseException, status: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exception(error)
    text = "\n".join(printable(line, LONGEST) for line in str(error).splitlines()) or type(error).__name__
    lead = "error" if status == 2 else "failed"
    with contextlib.suppress(OSError):  # nobody reads that either; the status says it still
        print(f"rltrain: {lead}: {text}", file=sys.stderr)
    return status

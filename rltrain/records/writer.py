"""One background thread that writes files; what goes wrong there is raised to the next caller."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

Job = Callable[[], None]


class Writer:
    """Runs jobs in order, at most `depth` waiting: a slow disk slows the run down and fills no memory."""

    def __init__(self, depth: int = 4):
        self._jobs: queue.Queue[Job | None] = queue.Queue(depth)
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Queue a job. Raises what an earlier job raised."""
        self.check()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="run writer", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def check(self) -> None:
        """Raise what a job raised since the last call, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def flush(self) -> None:
        """Wait until all jobs are done. Raises what one of them raised."""
        self._jobs.join()
        self.check()

    def close(self) -> None:
        """Flush and end the thread; a later `submit` starts another."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        self.check()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if job is None:
                    return
                job()
            except BaseException as error:  # not hidden: kept for the caller, in whose thread it can be handled
                self._failure = self._failure or error
            finally:
                self._jobs.task_done()


def write_table(path: Path, make: Callable[[], pa.Table]) -> None:
    """Write a Parquet file under a temporary name and rename it when it is whole. OSError with path and advice."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = make()
    temporary = path.with_name(f".{path.name}.tmp")
    # Text repeats and wants a dictionary; floats of a softmax do not, and looking for repeats takes time.
    repeated = [field.name for field in table.schema if pa.types.is_string(field.type)]
    try:
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(table, temporary, compression="zstd", compression_level=1, use_dictionary=repeated)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise failed(path, error) from error


GO_ON = "free space or set run.dir to another disk, then go on with --resume"


def failed(path: Path, error: OSError, advice: str = GO_ON) -> OSError:
    """The error of a file that could not be written, in words."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    told = OSError(f"{path}: cannot be written ({cause}); {advice}")
    told.errno = error.errno
    return told

"""Run directories: written by a run (`RunDir`), read by everything else (`load_run`)."""

from rltrain.records.read import RunFiles, load_run
from rltrain.records.run_dir import RunDir, newest, next_name, taken

__all__ = ["RunDir", "RunFiles", "load_run", "newest", "next_name", "taken"]

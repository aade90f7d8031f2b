"""Run directories: written by a run (`RunDir`), read by everything else (`load_run`, `FollowedRun`)."""

from rltrain.records.follow import FollowedRun
from rltrain.records.read import RunFiles, load_run
from rltrain.records.run_dir import RunDir, newest, next_name, taken

__all__ = ["FollowedRun", "RunDir", "RunFiles", "load_run", "newest", "next_name", "taken"]

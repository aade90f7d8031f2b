"""The rollouts of a run, down to the tokens of one completion: what the report embeds and the dashboard serves."""

from diagnostics.report.viewer.assets import script, style
from diagnostics.report.viewer.embed import embed
from diagnostics.report.viewer.history import History
from diagnostics.report.viewer.payload import group_payload, settings, step_payload, text_payload

__all__ = ["History", "embed", "group_payload", "script", "settings", "step_payload", "style", "text_payload"]

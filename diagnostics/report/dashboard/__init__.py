"""The pictures of the report, live in a browser, and every completion of every step. Reads files only."""

from diagnostics.report.dashboard.serve import serve

__all__ = ["serve"]

"""Diagnostics, one a file. Installed under the entry-point group `rltrain.diagnostics`."""

"""Curricula, one a file. Installed under the entry-point group `rltrain.curricula`."""

"""`python -m rltrain.metrics` prints `docs/metrics.md`."""

from rltrain.metrics import markdown

print(markdown(), end="")

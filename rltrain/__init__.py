"""RL post-training for language models that can tell which phase of learning a run is in."""

__version__ = "0.1.0"

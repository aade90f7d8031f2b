"""The configuration: frozen sections, one docstring per key, unknown keys are errors.

`load(path, overrides)` is the only way in. Derived numbers are properties of `Config`, computed in one
place and printed by `rltrain check`. Nothing here imports torch, ray, vllm or trl.
"""

from rltrain.config.machinery import (
    Action,
    Admission,
    Advantages,
    Checkpoints,
    Covariance,
    Distributed,
    Evaluation,
    Hicra,
    RareSuccess,
    Rollouts,
    SamplingSpec,
    Training,
)
from rltrain.config.plugins import (
    CurriculumSpec,
    GeneratorSpec,
    Lora,
    Model,
    PluginSpec,
    RewardSpec,
    Run,
    ScorerSpec,
    Section,
    TaskSource,
)
from rltrain.config.read import dump, find, load, parse, parse_generator
from rltrain.config.root import Config

__all__ = [
    "Action",
    "Admission",
    "Advantages",
    "Checkpoints",
    "Config",
    "Covariance",
    "CurriculumSpec",
    "Distributed",
    "Evaluation",
    "GeneratorSpec",
    "Hicra",
    "Lora",
    "Model",
    "PluginSpec",
    "RareSuccess",
    "RewardSpec",
    "Rollouts",
    "Run",
    "SamplingSpec",
    "ScorerSpec",
    "Section",
    "TaskSource",
    "Training",
    "dump",
    "find",
    "load",
    "parse",
    "parse_generator",
]

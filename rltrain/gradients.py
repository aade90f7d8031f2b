"""A step's gradient taken apart by task source, where it arises: in the training's own backward pass.

The gradient of a linear layer's weight is a sum over tokens, G = sum_t g_t a_t^T, with a_t what the layer was given and
g_t the gradient of what it gave. Hooks see both on their way through, so each source's part is one more product of
matrices of the watched layers: no further forward or backward pass, and what the optimizer gets stays as it is, bit
for bit. With an adapter the watched weights are the adapter's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from rltrain.batch import Row

WRAPPER = "base_model.model."  # what PEFT puts before a layer's name


class Spec(NamedTuple):
    """What is watched."""

    layers: tuple[str, ...]  # shell patterns of layer names
    neurons: int | None  # outputs of each layer, evenly chosen; None: all


class Part(NamedTuple):
    """What one process saw of a step."""

    sums: Mapping[str, np.ndarray]  # source -> (2, N) float32, by parity of the ticket
    seconds: float


class GradientWatch:
    """In every trainer process; idle until `begin`. Rows of micro-batches stand along the first axis of all layers."""

    def __init__(self) -> None:
        self._layers: dict[str, torch.nn.Linear] = {}
        self._neurons: int | None = None
        self._hooks: list[Any] = []
        self._rows: list[tuple[str, int] | None] = []  # source and parity of each row of the micro-batch; None: filler
        self._sums: dict[tuple[str, int], dict[str, torch.Tensor]] = {}
        self._seconds = 0.0

    def begin(self, model: torch.nn.Module, spec: Spec) -> None:
        """Watch the coming optimizer step. ValueError where no layer has such a name."""
        self._stop()
        self._layers, self._neurons = chosen(model, spec.layers), spec.neurons
        # on through the backward passes: some kinds of activation checkpointing run the real forward there
        self._hooks = [
            layer.register_forward_hook(partial(self._forward, name)) for name, layer in self._layers.items()
        ]

    def coming(self, batch: Sequence[Row]) -> None:
        """The next forward that is learned from, and the backward pass behind it, are on this micro-batch."""
        self._rows = [(row.source, row.key[0] % 2) if row.key[0] >= 0 else None for row in batch]

    def take(self) -> Part:
        """What was seen since `begin`; idle again."""
        shapes = {name: self._kept(layer.weight).shape for name, layer in self._layers.items()}
        sums: dict[str, np.ndarray] = {}
        for (source, parity), found in self._sums.items():
            of_source = sums.setdefault(source, np.zeros((2, sum(map(_size, shapes.values()))), np.float32))
            flat = [found[n].flatten() if n in found else torch.zeros(_size(shape)) for n, shape in shapes.items()]
            of_source[parity] = torch.cat([part.cpu() for part in flat]).numpy()
        part = Part(sums, self._seconds)
        self._stop()
        return part

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._layers, self._sums, self._seconds = [], {}, {}, 0.0

    def _forward(self, name: str, layer: torch.nn.Module, given: tuple[Any, ...], out: torch.Tensor) -> None:
        if not out.requires_grad:  # the reference's forward, or another that nothing is learned from
            return
        inputs, rows = given[0].detach(), self._rows
        if inputs.ndim != 3 or len(inputs) != len(rows):
            raise RuntimeError(
                f"gradients: layer {name} is given {tuple(inputs.shape)}, expected ({len(rows)} rows, tokens, width): "
                "what it sees cannot be told apart by row (a mixture of experts?); watch other layers"
            )
        out.register_hook(partial(self._backward, name, rows, inputs))

    def _backward(self, name: str, rows: list[Any], inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        begun = time.perf_counter()
        gradient = self._kept(gradient.movedim(-1, 0)).movedim(0, -1)
        for label in dict.fromkeys(row for row in rows if row is not None):
            at = [i for i, row in enumerate(rows) if row == label]
            part = gradient[at].flatten(0, 1).float().T @ inputs[at].flatten(0, 1).float()
            found = self._sums.setdefault(label, {})
            found[name] = found[name] + part if name in found else part
        self._seconds += time.perf_counter() - begun

    def _kept(self, outputs: torch.Tensor) -> torch.Tensor:
        """The chosen outputs of a layer, along the first axis."""
        if self._neurons is None or self._neurons >= len(outputs):
            return outputs
        return outputs[np.linspace(0, len(outputs) - 1, self._neurons).round().astype(int)]


class StepGradients:
    """`gradients` as the launcher lends it: a GradientProbe over all trainer processes, in the one that leads."""

    def __init__(self, trainer: Any, channel: Any) -> None:
        self._trainer, self._channel = trainer, channel
        self._spec: Spec | None = None
        self._every = 0
        self._open = False  # a step is watched and not yet asked for
        self._found: dict[str, np.ndarray] = {}
        self._seconds: float | None = None

    def watch(self, layers: Sequence[str], *, every: int, neurons: int | None) -> None:
        """See types.GradientProbe. ValueError where no layer has such a name, or two diagnostics ask."""
        if self._spec is not None:
            raise ValueError("gradients: two diagnostics ask for them; a run watches the layers of one")
        self._spec, self._every = Spec(tuple(layers), neurons), every
        chosen(self._trainer.model, self._spec.layers)

    def begin(self, step: int) -> None:
        """Before the micro-batches of a step: all processes watch it if it is its turn."""
        self._open = self._spec is not None and (step - 1) % self._every == 0
        self._found, self._seconds = {}, None
        if self._open:
            self._channel.announce("watch", self._spec)
            self._trainer.gradients.begin(self._trainer.model, self._spec)

    def by_source(self) -> Mapping[str, np.ndarray]:
        """See types.GradientProbe."""
        if self._open:
            self._open = False
            self._channel.announce("gradients")
            parts = self._channel.gather(self._trainer.gradients.take())
            self._seconds = max(part.seconds for part in parts)
            for source in dict.fromkeys(name for part in parts for name in part.sums):
                # a process's loss is scaled for a mean over processes
                found = [part.sums[source] for part in parts if source in part.sums]
                self._found[source] = sum(found) / np.float32(len(parts))
        return self._found

    def cost(self) -> dict[str, float]:
        """`time/gradients_s` of the step, where it was watched."""
        return {} if self._seconds is None else {"time/gradients_s": self._seconds}


def chosen(model: torch.nn.Module, patterns: Sequence[str]) -> dict[str, torch.nn.Linear]:
    """The trained linear layers whose names match, or the adapter's in them. ValueError where there is none."""
    head = model.get_output_embeddings()  # is given the completions' tokens alone, without their rows
    trained = {
        name.removeprefix(WRAPPER): layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer.weight.requires_grad and layer is not head
    }
    matching = {
        name: layer
        for name, layer in trained.items()
        if any(fnmatchcase(seen, pattern) for pattern in patterns for seen in (name, name.partition(".lora_")[0]))
    }
    if not matching:
        there = list(dict.fromkeys(name.partition(".lora_")[0] for name in trained))
        raise ValueError(
            f"gradients: no trained linear layer is called {' or '.join(map(repr, patterns))}; expected names or "
            f"patterns of {', '.join(there[:7]) or 'none: the model has no trained linear layer'}"
            + (", ..." if len(there) > 7 else "")
        )
    return matching


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape))

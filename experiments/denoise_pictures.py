"""The pictures in a report of `experiments.denoise`."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bimonn_jax.deployment.describe import operator_name
from bimonn_jax.morphology.footprints import stick_footprints
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.training.baselines import median_3x3
from bimonn_jax.training.metrics import dice
from bimonn_jax.viz import (
    plot_comparison,
    plot_footprints,
    plot_history,
    plot_network,
    plot_stages,
)

from .denoise_tasks import Task
from .report import everything

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .report import Figures

# Side of the part of an image that pictures show.
_SHOWN = 120
# What the search tells of its rounds beside a score.
_PROGRESS = ("penalty", "transforms")
_CAPTIONS = {
    "images": "A part of the first test image: what filters make of it, and what it should be. "
    "F-measures are those of all test images, and of what is shown here. The other pictures are of "
    "the same part.",
    "network": "The boolean network, simplified, from left to right: its operators, and what each "
    "of them reads.",
    "stages": "The part after each stage of the network, which is read from left to right.",
    "footprints": "Footprints of the channels that are left after pruning.",
    "curves": "What was measured while it learned.",
}


def used_channels(architecture: Architecture, boolean: Any) -> list[int]:
    """The inputs that the union at the end of a network still reads."""
    last = architecture[-1].params_of(boolean).get("lui")
    if last is None:
        return []
    return [int(i) for i in np.flatnonzero(np.asarray(last.footprint).any(axis=1))]


def footprint_rows(
    architecture: Architecture, boolean: Any, channels: list[int]
) -> dict[str, list[np.ndarray]]:
    """The footprints of the used channels, a titled row per layer and input channel."""
    rows = {}
    for layer in architecture:
        neurons = layer.params_of(boolean).get("bise")
        if neurons is None:
            continue
        footprint = np.asarray(neurons.footprint)
        inputs, outputs = footprint.shape[2:]
        ranks, sizes, complement = map(
            np.asarray, (neurons.ranks, neurons.sizes, neurons.complement)
        )
        for i in range(1 if outputs == 1 else inputs):
            # A layer with one output has a neuron per channel, others per channel and input.
            index = [(c, 0) if outputs == 1 else (i, c) for c in channels]
            names = {
                operator_name(int(ranks[at]), int(sizes[at]), complement=bool(complement[at]))
                for at in index
            }
            title = " and ".join(sorted(names))
            of = "" if outputs == 1 or inputs == 1 else f" of input {i}"
            rows[f"{title}{of}, in {layer.name}"] = [footprint[:, :, a, b] for a, b in index]
    return rows


def competitors(task: Task, x: jax.Array, network: BooleanNetwork) -> dict[str, tuple[str, Any]]:
    """By title: the name of the F-measure on all test images, and the image, here (H, W)."""
    bits = x if x.dtype == np.bool_ else task.shown_bits
    found: dict[str, tuple[str, Any]] = {"input": ("dice_noisy", x[0, ..., 0])}
    if bits is not None:
        bits = bits[:1, : x.shape[1], : x.shape[2], 0] if bits.ndim == 4 else bits
        if x.dtype != np.bool_:
            found = {"input": ("", x[0, ..., 0]), "input, as bits": ("dice_noisy", bits[0])}
        found["3 x 3 median"] = "dice_median_3x3", median_3x3(bits[0])
        if task.handmade is not None:
            found[task.handmade_title] = task.handmade_score, task.handmade(bits)[0]
    found["boolean network"] = "dice_boolean", network(x)[0, ..., 0]
    return found


def comparison(
    task: Task, x: jax.Array, y: jax.Array, network: BooleanNetwork, metrics: dict[str, Any]
) -> "Figure":
    """Input, filters made by hand, network and target, with F-measures here and of all."""
    found, notes = competitors(task, x, network), {}
    for title, (name, image) in found.items():
        if name:
            of_all = metrics.get(name)
            texts = [] if of_all is None else [f"F-measure {of_all:.3f}"]
            notes[title] = "\n".join([*texts, f"here {float(dice(image, y)):.3f}"])
    images = {title: np.asarray(image) for title, (_, image) in found.items()}
    return plot_comparison(images, np.asarray(y), notes=notes)


def pictures(
    task: Task,
    network: BooleanNetwork,
    pruned: tuple[Architecture, Any],
    history: list[dict[str, float]],
    metrics: dict[str, Any],
) -> "tuple[Figures, Figures]":
    """Figures with captions by name, all of one example.

    Args:
      task: what was learned from.
      network: what was learned, simplified.
      pruned: layers and boolean tree before that, whose footprints keep their channels.
      history: of the learning.
      metrics: what metrics.json holds.

    Returns:
      Figures that are shown, and those of all neurons.
    """
    images, targets = task.test[0]
    x, y = images[:1, :_SHOWN, :_SHOWN], targets[0, :_SHOWN, :_SHOWN, 0]
    channels = used_channels(*pruned)[:16]
    rows = footprint_rows(*pruned, channels)
    if task.name == "sticks":
        rows = {"target sticks": list(stick_footprints()), **rows}
    step = "round of the search" if "penalty" in history[0] else "training step"
    measured = [{n: v for n, v in row.items() if n not in _PROGRESS} for row in history]
    figures = {
        "images": comparison(task, x, y, network, metrics),
        "network": plot_network(network, x.shape[1:], x=np.asarray(x)),
        "stages": plot_stages(network, np.asarray(x[0])),
        "curves": plot_history(measured, step=step),
    }
    if channels and len(rows) > (task.name == "sticks"):
        figures["footprints"] = plot_footprints(rows)
    captioned = {name: (_CAPTIONS[name], figure) for name, figure in figures.items()}
    return captioned, everything(network, np.asarray(x))

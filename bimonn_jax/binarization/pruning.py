"""Removing neurons that do not matter from a boolean network, judged by a metric on data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.networks.kinds import Architecture, NeuronLayer
from bimonn_jax.neurons.params import (
    BinaryNeurons,
    RankNeurons,
    map_named_neurons,
    named_neurons,
)

# The kinds of layers whose "lui" are unions and intersections of channels.


@dataclass(frozen=True)
class PruningReport:
    """What pruning did.

    Attributes:
      before: the metric of the given network.
      after: the metric of the pruned one.
      removed: for each set of unions, how many of its inputs were cut.
    """

    before: float
    after: float
    removed: dict[str, int]


def _binary_neurons(tree: Any) -> dict[str, BinaryNeurons]:
    return {p: n for p, n in named_neurons(tree).items() if isinstance(n, BinaryNeurons)}


def _without(tree: Any, path: str, index: tuple[int, ...]) -> Any:
    """The tree with one bit of the footprints at ``path`` cleared; erosions stay erosions."""
    neurons = _binary_neurons(tree)[path]
    cut = replace(neurons, footprint=jnp.asarray(neurons.footprint).at[index].set(False))
    if isinstance(cut, RankNeurons):
        rank = jnp.asarray(cut.rank)
        neuron = index[len(index) - rank.ndim :]
        if 1 < rank[neuron] == neurons.sizes[neuron]:
            cut = replace(cut, rank=rank.at[neuron].add(-1))
    return map_named_neurons(lambda mine, node: cut if mine == path else node, tree)


def _unions(sets: Iterable[str], architecture: Architecture | None) -> list[str]:
    """The paths of unions and intersections of channels, as far as they can be told."""
    if architecture is not None:
        unions = {
            layer.path_of(neuron_set.part)
            for layer in architecture
            if isinstance(layer, NeuronLayer)
            for neuron_set in layer.sets
            if not neuron_set.slides and not neuron_set.complements
        }
        chosen = [path for path in sets if path in unions]
    else:
        # A hit-or-miss layer keeps its neurons under the same name, but has no BiSE beside them.
        chosen = [p for p in sets if p.endswith("lui") and f"{p.removesuffix('lui')}bise" in sets]
    if not chosen:
        raise ValueError(
            f"there are no unions to prune among {sorted(sets)}: give the architecture, which "
            "tells them from hit-or-miss transforms, or paths"
        )
    return chosen


def prune(
    boolean: Any,
    metric: Callable[[Any], jax.Array],
    *,
    architecture: Architecture | None = None,
    paths: Iterable[str] | None = None,
    tolerance: float = 0.0,
) -> tuple[Any, PruningReport]:
    """Cuts inputs of unions and intersections one by one while the metric stays as good.

    Each selected input of the given neurons is tried in order of what its removal costs, and cut
    when the metric does not fall by more than ``tolerance`` below the best seen; repeated until
    nothing more goes. An erosion asks for all inputs that are left; any other rank stays what it
    is, the input being taken as clear. A neuron that no reader selects any more is dead weight. The
    metric should be measured on data that is not the test set.

    Args:
      boolean: the boolean tree.
      metric: boolean tree -> scalar, higher is better; jit-compiled here.
      architecture: of the network: by default the neurons of its unions (LUI, BiSEL, DenseLUI)
        lose inputs, never the literals of hit-or-miss transforms. Without it, those of BiSELs.
      paths: the sets of neurons to cut inputs of, in place of these.
      tolerance: how much of the metric each cut may cost, against the best seen.

    Returns:
      (pruned tree, report).

    Raises:
      ValueError: if a path is not in the tree or its neurons are not binary, or there are no
        unions.
    """
    sets = _binary_neurons(boolean)
    chosen = _unions(sets, architecture) if paths is None else list(paths)
    for path in chosen:
        if path not in sets:
            raise ValueError(f"paths must name binary neurons among {sorted(sets)}; got {path!r}")
    score = jax.jit(metric)
    before = best = float(score(boolean))
    removed = dict.fromkeys(chosen, 0)

    changed = True
    while changed:
        changed = False
        sets = _binary_neurons(boolean)
        candidates = [
            (path, tuple(int(i) for i in index))
            for path in chosen
            for index in np.argwhere(np.asarray(sets[path].footprint))
        ]
        costs = [-float(score(_without(boolean, path, index))) for path, index in candidates]
        for order in np.argsort(costs, kind="stable"):
            path, index = candidates[order]
            trial = _without(boolean, path, index)
            value = float(score(trial))
            if value >= best - tolerance:
                boolean, best, changed = trial, max(best, value), True
                removed[path] += 1
    return boolean, PruningReport(before, float(score(boolean)), removed)

"""Footprints and ranks by what neurons do on data, where weights and biases do not tell them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.binarization.conversion import binarize
from bimonn_jax.networks.architecture import apply_layer, concatenated, read_by
from bimonn_jax.networks.kinds import Architecture, NeuronLayer
from bimonn_jax.neurons.params import (
    BinaryNeurons,
    RankNeurons,
    RealNeurons,
    flat_weight,
    map_named_neurons,
    named_neurons,
    real_parameters,
    with_ranks,
    without_ranks,
)
from bimonn_jax.neurons.sets import NeuronSet, apply_set


def fit_ranks(
    architecture: Architecture,
    params: Mapping[str, Any],
    x: jax.Array | np.ndarray,
    *,
    max_inputs: int = 64,
) -> Any:
    """Replaces every BiSE neuron by the rank neuron that agrees with it most often on data.

    Neuron by neuron, layer by layer: what a neuron of the trained network finds, above 1/2, is
    compared with what "at least k of S" finds in the maps of the layers that are binary already.
    Neurons that are activated keep their operators, as in `bimonn_jax.binarize`. Of others, S are
    the j largest of the positive weights, for every j, or, of neurons with more than ``max_inputs``
    inputs, those of the nearest constant neuron; every k from 1 to |S| is tried, so that none
    becomes constant. Of those that agree as often the first is taken, by |S| and then by k.

    It is a choice by data: nothing is proven of inputs that are not among them.

    Args:
      architecture: of the network.
      params: its parameters, concrete, real-valued.
      x: bool inputs of the network, (N, H, W, C) or (N, n).
      max_inputs: the largest number of inputs for which all S are tried. All maps of a layer are
        computed once for each (S, k), about half of its square.

    Returns:
      The tree of `bimonn_jax.binarize`, with these neurons.

    Raises:
      ValueError: if there are no inputs; see also `bimonn_jax.binarize`.
    """
    x = jnp.asarray(x)
    if not x.size:
        raise ValueError(f"x has shape {x.shape}: at least one input was expected, to compare on")
    binary, reports = binarize(params, method="constant", return_report=True)
    is_exact = {report.path: report.is_exact for report in reports}
    named = named_neurons(params)
    values, bits = [x], [x]
    for layer, read in zip(architecture, read_by(architecture), strict=True):
        images, binary_images = ([of[i] for i in read] for of in (values, bits))
        if isinstance(layer, NeuronLayer):
            maps, binary_maps = (concatenated(layer, each) for each in (images, binary_images))
            for neuron_set in layer.sets:
                path = layer.path_of(neuron_set.part)
                real = named[path]
                fitted: Any = layer.params_of(binary)[neuron_set.part]
                maps = apply_set(neuron_set, real, maps, **layer.window)
                if isinstance(real, RealNeurons) and not is_exact[path].all():
                    tried = _candidates(real, fitted, max_inputs)
                    wins = _agreements(layer, neuron_set, tried, binary_maps, maps > 0.5)
                    fitted = _chosen(tried, np.asarray(wins), fitted, is_exact[path])
                    binary = _replaced(binary, path, fitted)
                binary_maps = apply_set(neuron_set, fitted, binary_maps, **layer.window)
        values.append(apply_layer(layer, params, images))
        bits.append(apply_layer(layer, binary, binary_images))
    return binary


def _replaced(tree: Any, path: str, neurons: BinaryNeurons) -> Any:
    return map_named_neurons(lambda p, n: neurons if p == path else n, tree)


def _candidates(real: RealNeurons, nearest: BinaryNeurons, max_inputs: int) -> RankNeurons:
    """Neurons of each (S, k), along a first axis."""
    weight, bias, _ = real_parameters(real)
    W = np.asarray(flat_weight(weight, bias))
    # The nearest constant neuron is one of the largest weights too.
    sizes = np.asarray(nearest.sizes)
    if len(W) <= max_inputs:
        places = np.argsort(np.argsort(-W, axis=0, kind="stable"), axis=0, kind="stable")
        positive = np.maximum((W > 0).sum(axis=0), 1)
        pairs = [(j, k) for j in range(1, len(W) + 1) for k in range(1, j + 1)]
        # Where there are not so many positive weights, the same S again.
        size = [np.minimum(j, positive) for j, _ in pairs]
        footprint = np.stack([places < s for s in size])
    else:
        pairs = [(0, k) for k in range(1, int(sizes.max()) + 1)]
        size = [sizes] * len(pairs)
        footprint = np.broadcast_to(np.asarray(nearest.footprint).reshape(W.shape), (1, *W.shape))
    rank = np.stack([np.clip(k, 1, s) for (_, k), s in zip(pairs, size, strict=True)])
    footprint = footprint.reshape(-1, *real.weight.shape)
    return RankNeurons(
        jnp.asarray(footprint), jnp.asarray(rank, jnp.int32), jnp.asarray(nearest.complement)
    )


@partial(jax.jit, static_argnums=(0, 1))
def _agreements(
    layer: NeuronLayer,
    neuron_set: NeuronSet,
    tried: RankNeurons,
    x: jax.Array,
    wanted: jax.Array,
) -> jax.Array:
    """How often each candidate finds what is wanted, int32 (candidates, neurons...)."""
    axes = tuple(range(wanted.ndim - tried.complement.ndim))
    is_shared = len(tried.footprint) == 1

    def one(index: jax.Array) -> jax.Array:
        footprint = tried.footprint[0 if is_shared else index]
        neurons = RankNeurons(footprint, tried.rank[index], tried.complement)
        same = apply_set(neuron_set, neurons, x, **layer.window) == wanted
        return jnp.sum(same, axis=axes, dtype=jnp.int32)

    counts: jax.Array = jax.lax.map(one, jnp.arange(len(tried.rank)))
    return counts


def _chosen(
    tried: RankNeurons, wins: np.ndarray, nearest: BinaryNeurons, is_exact: np.ndarray
) -> BinaryNeurons:
    """The first candidate that agrees most often, of the neurons that are not exact."""
    best = np.argmax(wins, axis=0)
    footprint, rank = np.asarray(tried.footprint), np.asarray(tried.rank)
    own = with_ranks(nearest)
    at = np.minimum(best, len(footprint) - 1)
    chosen = np.take_along_axis(footprint, np.broadcast_to(at, (1, *footprint.shape[1:])), axis=0)
    ranks = np.take_along_axis(rank, best[None], axis=0)[0]
    return without_ranks(
        RankNeurons(
            jnp.where(is_exact, own.footprint, chosen[0]),
            jnp.where(is_exact, own.rank, ranks),
            own.complement,
        )
    )

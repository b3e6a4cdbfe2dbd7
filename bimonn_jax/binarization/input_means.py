"""The means of what neurons read on data, by which `binarize` can move biases."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.networks.architecture import apply_layer, concatenated, read_by
from bimonn_jax.networks.kinds import Architecture, NeuronLayer
from bimonn_jax.neurons.sets import NeuronSet, Reads, apply_set


@partial(jax.jit, static_argnums=0)
def input_means(
    architecture: Architecture, params: Mapping[str, Any], x: jax.Array | np.ndarray
) -> dict[str, jax.Array]:
    """The mean of each input of each set of neurons: the ``input_mean`` of `bimonn_jax.binarize`.

    Zeros that pad images are not counted.

    Args:
      architecture: of the network.
      params: its parameters, real-valued or boolean.
      x: inputs of the network, (N, H, W, C) or (N, n).

    Returns:
      By path, float32, of a shape that broadcasts to that of the weights: (channels, 1), or
      (channels, neurons) for what reads maps of its own.
    """
    values, means = [jnp.asarray(x)], {}
    for layer, read in zip(architecture, read_by(architecture), strict=True):
        images = [values[i] for i in read]
        if isinstance(layer, NeuronLayer):
            maps, own = concatenated(layer, images), layer.params_of(params)
            for neuron_set in layer.sets:
                means[layer.path_of(neuron_set.part)] = _means(neuron_set, maps)
                maps = apply_set(neuron_set, own[neuron_set.part], maps, **layer.window)
        values.append(apply_layer(layer, params, images))
    return means


def _means(neuron_set: NeuronSet, x: jax.Array) -> jax.Array:
    own = 2 if neuron_set.reads is Reads.OWN_COLUMN else 1
    mean = jnp.mean(x.astype(jnp.float32), axis=tuple(range(x.ndim - own)))
    if own == 2:
        return mean
    if neuron_set.complements:
        mean = jnp.concatenate([mean, 1 - mean])
    return mean[:, None]

"""Losses that draw neurons towards morphological operators (arXiv 2401.03830, section 6).

Each is the squared distance of a neuron's weights to the nearest lambda 1_S, summed over the
neurons of a parameter tree; they differ in how S is found. The minimiser is held constant, so the
gradient is 2 (W - lambda 1_S) (envelope theorem) and nothing is differentiated through the search.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bimonn_jax.params import (
    BiSEParams,
    flat_weight,
    named_neurons,
    per_neuron,
    real_parameters,
)
from bimonn_jax.projection.constant import PROJECTIONS, squared_distance

Regularizer = Callable[[Any], jax.Array]

# The regularisers by name, and the projection that finds S for each.
_FOOTPRINTS = {"exact": "constant", "uniform": "uniform", "normal": "normal"}


def regularizer(name: str, *, relative: bool = False) -> Regularizer:
    """Builds a regulariser: a scalar function of a parameter tree, for `jax.jit` and `jax.grad`.

    Args:
      name: "exact" (nearest point of the constant set), "uniform" or "normal" (S by a threshold).
      relative: whether each neuron's squared distance is divided by |W|^2, so that neurons of many
        inputs, whose weights are small, count as much as others.

    Returns:
      A function of a parameter tree. Neurons trained through the binarisation contribute 0.

    Raises:
      ValueError: for an unknown name.

    >>> import jax.numpy as jnp
    >>> neurons = BiSEParams(jnp.array([[3.0], [1.0]]), jnp.array([1.0]), jnp.array([1.0]))
    >>> float(regularizer("exact")({"layer": neurons}))
    1.0
    """
    if name not in _FOOTPRINTS:
        raise ValueError(f"regularizer must be one of {sorted(_FOOTPRINTS)}; got {name!r}")
    footprint_of = PROJECTIONS[_FOOTPRINTS[name]]

    def one_neuron(W: jax.Array) -> jax.Array:
        footprint = jax.lax.stop_gradient(footprint_of(W))
        distance = squared_distance(W, footprint)
        if not relative:
            return distance
        # The double where keeps the gradient finite for a neuron whose weights are all 0.
        norm = jnp.sum(jnp.square(W))
        return jnp.where(norm > 0, distance / jnp.where(norm > 0, norm, 1.0), 0.0)

    def loss(params: Any) -> jax.Array:
        total = jnp.float32(0.0)
        for neurons in named_neurons(params).values():
            if isinstance(neurons, BiSEParams) and neurons.weight_reparam != "boolean":
                W, B, _ = real_parameters(neurons)
                total += jnp.sum(per_neuron(one_neuron, B.ndim)(flat_weight(W, B)))
        return total

    return loss

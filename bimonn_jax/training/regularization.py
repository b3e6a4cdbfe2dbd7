"""Losses that draw neurons towards morphological operators (arXiv 2401.03830, section 6).

Each is the squared distance of a neuron to its projection, summed over the neurons of a parameter
tree; they differ in what is projected onto. The projection is held constant, so the gradient is
twice the way to it (envelope theorem) and nothing is differentiated through a search.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bimonn_jax._support.promotion import promoting
from bimonn_jax.binarization.projection.activable import project
from bimonn_jax.binarization.projection.constant import PROJECTIONS, squared_distance
from bimonn_jax.neurons.params import (
    RealNeurons,
    flat_weight,
    named_neurons,
    real_parameters,
)
from bimonn_jax.neurons.reparam import BINARY

# (parameter tree, step) -> scalar.
Regularizer = Callable[..., jax.Array]

# The projections onto the constant set, by the name of their regularizer.
_CONSTANT = {"exact": "constant", "uniform": "uniform", "normal": "normal"}
NAMES = ("acti", *_CONSTANT)

# To sort or to project every neuron of a large layer at every step would take several times as long
# as the step itself.
_IN_TURNS = ("acti", "exact")
_MOST_TURNS, _NEURONS_IN_A_TURN = 32, 64


def regularizer(
    name: str = "acti",
    *,
    relative: bool = False,
    layers: Collection[str] | None = None,
    every: int | None = None,
) -> Regularizer:
    """Builds a regularizer, for `jax.jit` and `jax.grad`.

    Args:
      name: what the distance is measured to: "acti" (the nearest activable neuron, of weights and
        bias, to which `bimonn_jax.binarize` goes by default), "exact" (the nearest lambda 1_S of
        the weights), "uniform" or "normal" (lambda 1_S with S by a threshold).
      relative: whether each neuron's squared distance is divided by |W|^2, so that neurons of many
        inputs, whose weights are small, count as much as others.
      layers: paths of the neurons that take part, as `bimonn_jax.neurons.named_neurons` gives them;
        all by default.
      every: the neurons of a layer take turns, each counting ``every`` times as much at one step
        out of ``every``: the same sum on average, in a fraction of the time. By default "acti" and
        "exact" take up to 32 turns, of at least 64 neurons each; the others take none.

    Returns:
      A function (params, step=0) -> scalar; the step, an int (), says whose turn it is. Neurons
      trained through the binarization contribute 0.

    Raises:
      ValueError: for an unknown name, ``every`` below 1, or (when called) an unknown layer.

    Examples:
      >>> import jax.numpy as jnp
      >>> neurons = RealNeurons(jnp.array([[3.0], [1.0]]), jnp.array([1.0]), jnp.array([1.0]))
      >>> float(regularizer("exact")({"layer": neurons}))
      1.0
    """
    if name not in NAMES:
        raise ValueError(f"regularizer must be one of {sorted(NAMES)}; got {name!r}")
    if every is not None and every < 1:
        raise ValueError(f"every must be >= 1; got {every}")
    distances = _to_activable if name == "acti" else partial(_to_constant, _CONSTANT[name])

    def turns(neurons: int) -> int:
        if every is not None:
            return every
        largest = _MOST_TURNS if name in _IN_TURNS else 1
        return max(1, min(largest, neurons // _NEURONS_IN_A_TURN))

    @jax.jit
    def loss(params: Any, step: jax.Array | int = 0) -> jax.Array:
        chosen = named_neurons(params)
        if layers is not None:
            unknown = set(layers) - set(chosen)
            if unknown:
                raise ValueError(f"layers {sorted(unknown)} are not among {sorted(chosen)}")
            chosen = {path: chosen[path] for path in layers}
        total: jax.Array = jnp.float32(0.0)
        for neurons in chosen.values():
            if isinstance(neurons, RealNeurons) and neurons.weight_reparam not in BINARY:
                mine, share, counts = _whose_turn(neurons, step, turns(neurons.bias.size))
                W, B, _ = real_parameters(mine)
                # Computed once, not within each of the sums below.
                W = jax.lax.optimization_barrier(flat_weight(W, B))
                values = distances(W, B)
                if relative:
                    values = _divide(values, jnp.sum(jnp.square(W), axis=0))
                # Of the widest dtype of the neurons.
                with promoting():
                    total += share * jnp.sum(jnp.where(counts, values, 0))
        return total

    return loss


def _whose_turn(
    neurons: RealNeurons, step: jax.Array | int, turns: int
) -> tuple[RealNeurons, int, jax.Array]:
    """The neurons of this step, flat; how often each is to be counted; which count at all."""
    bias = neurons.bias.reshape(-1)
    some = -(-bias.size // turns)
    turns = -(-bias.size // some)
    # The last turn starts early to be as long as the others, and leaves out who had a turn.
    due = (jnp.asarray(step) % turns) * some
    first = jnp.minimum(due, bias.size - some)

    def mine(values: jax.Array) -> jax.Array:
        values = values.reshape(-1, bias.size)
        if turns == 1:
            return values
        return jax.lax.dynamic_slice_in_dim(values, first, some, axis=1)

    weight = mine(neurons.weight)
    bias, scale = (mine(v)[0] for v in (neurons.bias, neurons.scale))
    chosen = replace(neurons, weight=weight, bias=bias, scale=scale)
    return chosen, turns, first + jnp.arange(some, dtype=due.dtype) >= due


def _to_constant(projection: str, W: jax.Array, B: jax.Array) -> jax.Array:
    """Squared distances (neurons,) of weights (n, neurons) to lambda 1_S."""
    del B
    return squared_distance(W, jax.lax.stop_gradient(PROJECTIONS[projection](W)))


def _to_activable(W: jax.Array, B: jax.Array) -> jax.Array:
    """Squared distances (neurons,) of W (n, neurons), B (neurons,) to the activable neurons."""
    nearest = jax.lax.stop_gradient(project(jax.lax.stop_gradient(W), jax.lax.stop_gradient(B)))
    compared = jnp.where(nearest.is_erosion, jnp.sum(W, axis=0) - B, B)
    # The value is the shift that the projection found, more digits than a difference of sums has.
    shift = nearest.shift + jax.lax.stop_gradient(compared) - compared
    return jnp.sum(jnp.square(nearest.weight - W), axis=0) + jnp.square(shift)


def _divide(values: jax.Array, norms: jax.Array) -> jax.Array:
    """Quotients, 0 where the divisor is; the double where keeps the gradient finite there."""
    return jnp.where(norms > 0, values / jnp.where(norms > 0, norms, 1.0), 0.0)

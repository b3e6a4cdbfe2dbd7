"""Reparametrizations W(omega) and B(beta, W) of one neuron, with their inverses (sec. 3 and 4).

Functions of one neuron: ``omega`` and ``W`` are (n,), ``beta`` and ``B`` scalars, all float. The
tables `WEIGHTS` and `BIASES` hold them by name; `check_names` says which go together. Those of rank
neurons take the columns (n, neurons...) of several neurons too: mapped by `jax.vmap`, their halves
would be transposed, which takes longer than all else.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from bimonn_jax.neurons.thresholds import THRESHOLDS, straight_through


def inverse_softplus(y: jax.Array) -> jax.Array:
    """Inverse of softplus on y > 0, without overflow: y + log(1 - exp(-y))."""
    return y + jnp.log(-jnp.expm1(-y))


class WeightReparam(NamedTuple):
    """forward(omega, total) -> W and inverse(W) -> omega; ``total`` is the sum `dual` keeps."""

    forward: Callable[[jax.Array, jax.Array], jax.Array]
    inverse: Callable[[jax.Array], jax.Array]


class BiasReparam(NamedTuple):
    """forward(beta, W) -> B and inverse(B, W) -> beta, on the range of ``forward``."""

    forward: Callable[[jax.Array, jax.Array], jax.Array]
    inverse: Callable[[jax.Array, jax.Array], jax.Array]


def _dual(omega: jax.Array, total: jax.Array) -> jax.Array:
    positive = jax.nn.softplus(omega)
    return total * positive / jnp.sum(positive)


# Latents are compared in steps of this size, whose sums are exact: the same inputs are in a
# footprint in every program that runs the neuron, whatever the order of its sums.
_LATENT_STEP = 2.0**-12


def _derivative_only(x: jax.Array) -> jax.Array:
    """0 wherever x is finite, with the derivative of x."""
    return x - lax.stop_gradient(x)


def _ternary(level: float, omega: jax.Array, total: jax.Array) -> jax.Array:
    positive, negative = jnp.split(omega, 2)
    d = positive - negative
    steps = jnp.round(jnp.clip(lax.stop_gradient(d), -1, 1) / _LATENT_STEP).astype(jnp.int32)
    size = jnp.abs(steps)
    threshold = jnp.sum(size, axis=0, keepdims=True).astype(jnp.float32) * (level / len(d))
    is_read = size.astype(jnp.float32) > threshold
    # Exactly 0, with the derivative of the identity, also where the difference overflows.
    through = _derivative_only(positive) - _derivative_only(negative)
    sides = [(is_read & (steps > 0), through), (is_read & (steps < 0), -through)]
    return jnp.concatenate([side.astype(d.dtype) + to_latent for side, to_latent in sides])


WEIGHTS: dict[str, WeightReparam] = {
    "identity": WeightReparam(lambda omega, total: omega, lambda W: W),
    "positive": WeightReparam(lambda omega, total: jax.nn.softplus(omega), inverse_softplus),
    "dual": WeightReparam(_dual, inverse_softplus),
    # Trained through the binarization: the forward weights are the footprint itself.
    "boolean": WeightReparam(lambda omega, total: straight_through(omega), lambda W: W),
    # The same over [x, 1 - x], by the rule of ternary weight networks: with d the difference of the
    # two halves, an input is read where d > 0.7 mean |d|, its complement where d < -0.7 mean |d|.
    "ternary": WeightReparam(partial(_ternary, 0.7), lambda W: W),
    "ternary_sparse": WeightReparam(partial(_ternary, 1.4), lambda W: W),
}


def bias_range(W: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(Bmin, Bmax) = (w(1) / 2, sum W - w(1) / 2) for W > 0 (n,): the neuron is never constant."""
    half = jnp.min(W) / 2
    return half, jnp.sum(W) - half


def two_smallest_bias_range(W: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The paper's code: Bmin = (w(1) + w(2)) / 2, which forbids the dilation by all n >= 2 pixels.

    Kept for comparison only; `bias_range` is the one that excludes exactly the constant neurons.
    """
    if len(W) < 2:
        raise ValueError(
            "a bias between the two smallest weights needs two inputs; got 1: take 'projected' or "
            "'reparametrized'"
        )
    smallest = -lax.top_k(-W, 2)[0]
    return jnp.sum(smallest) / 2, jnp.sum(W) - smallest[0] / 2


Range = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


def _clipped(bounds: Range, through_bounds: bool) -> BiasReparam:
    def forward(beta: jax.Array, W: jax.Array) -> jax.Array:
        lower, upper = bounds(W if through_bounds else lax.stop_gradient(W))
        return jnp.clip(jax.nn.softplus(beta), lower, upper)

    return BiasReparam(forward, lambda B, W: inverse_softplus(B))


def _boolean_bias(beta: jax.Array, W: jax.Array) -> jax.Array:
    # beta in [0, 1] holds the operator: dilation (B = 1/2) up to 1/2, erosion (|S| - 1/2) above.
    return 0.5 + straight_through(beta) * (jnp.sum(W) - 1.0)


def _rank_bias(beta: jax.Array, W: jax.Array) -> jax.Array:
    # The neuron asks whether inputs outvote the complemented ones by more than floor(sqrt(n) beta):
    # sums spread like the root of n, and in this unit one learning rate suits neurons of any size.
    # Footprints that change at inputs that are mostly 0 leave these sums as they were.
    inputs = len(W) // 2
    unit = inputs**0.5
    # Beyond all inputs a neuron is constant, whatever its latent, which so cannot overflow.
    most = (len(W) + 1) / unit
    latent = unit * jnp.clip(lax.stop_gradient(beta), -most, most)
    of_complements = jnp.sum(W[inputs:], axis=0)
    B: jax.Array = of_complements + jnp.floor(latent) + 0.5 + unit * _derivative_only(beta)
    return B


def _rank_latent(B: jax.Array, W: jax.Array) -> jax.Array:
    # In the middle of the latents of a rank, far from its neighbors.
    middle = jnp.floor(B - jnp.sum(W[len(W) // 2 :], axis=0)) + 0.5
    beta: jax.Array = middle / (len(W) // 2) ** 0.5
    return beta


BIASES: dict[str, BiasReparam] = {
    "identity": BiasReparam(lambda beta, W: beta, lambda B, W: B),
    "positive": BiasReparam(
        lambda beta, W: jax.nn.softplus(beta), lambda B, W: inverse_softplus(B)
    ),
    "projected": _clipped(bias_range, through_bounds=False),
    "reparametrized": _clipped(bias_range, through_bounds=True),
    "projected_two_smallest": _clipped(two_smallest_bias_range, through_bounds=False),
    "reparametrized_two_smallest": _clipped(two_smallest_bias_range, through_bounds=True),
    "boolean": BiasReparam(_boolean_bias, lambda B, W: (jnp.sum(W) - 0.5 == B).astype(W.dtype)),
    "rank": BiasReparam(_rank_bias, _rank_latent),
}


# The weights of neurons trained through the binarization, with the biases that go with them.
BINARY = {"boolean": "boolean", "ternary": "rank", "ternary_sparse": "rank"}


def dual_total(threshold: str) -> jax.Array:
    """K of the dual reparametrization: n times the initial mean weight, 2 xi^-1(0.95), any n."""
    return 2.0 * THRESHOLDS[threshold].inverse(jnp.float32(0.95))


def _known(kind: str, name: str, table: Mapping[str, object]) -> None:
    if name not in table:
        raise ValueError(f"{kind} must be one of {sorted(table)}; got {name!r}")


def check_names(weight: str, bias: str, threshold: str) -> None:
    """Raises ValueError where a name is unknown or the three do not go together."""
    _known("weight_reparam", weight, WEIGHTS)
    _known("bias_reparam", bias, BIASES)
    _known("threshold", threshold, THRESHOLDS)
    is_binary = weight in BINARY or bias in BINARY.values() or threshold == "step"
    if is_binary and (BINARY.get(weight), "step") != (bias, threshold):
        pairs = ", ".join(f"{w!r} with {b!r}" for w, b in BINARY.items())
        raise ValueError(
            "training through the binarization takes threshold='step', and of weight_reparam and "
            f"bias_reparam {pairs}; got {weight!r} with {bias!r} and {threshold!r}"
        )
    if bias.startswith(("projected", "reparametrized")) and weight == "identity":
        raise ValueError(
            f"bias_reparam={bias!r} needs positive weights: use weight_reparam='positive' or "
            "'dual', or bias_reparam='identity' or 'positive'"
        )

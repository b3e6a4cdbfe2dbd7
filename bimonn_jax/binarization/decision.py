"""Which neurons are activated: decided once, for `binarize` and `certify` alike."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.pytrees import pytree
from bimonn_jax.neurons.activation import Activation, activation, activation_on_host
from bimonn_jax.neurons.params import RealNeurons, flat_weight, real_parameters


@pytree
class Decision:
    """One set of neurons before those that are not activated are projected.

    Attributes:
      W: float (n, neurons...); the weights.
      B: float (neurons...); the biases.
      is_negative: bool (neurons...); the sign of the scale, which complements the output.
      activation: which operator each neuron is, on bits.
    """

    W: Any
    B: Any
    is_negative: Any
    activation: Activation

    def is_exact(self, *, ranks: bool) -> Any:
        """Which neurons are operators already, bool (neurons...): of any rank, or of the ends."""
        return self.activation.is_activated if ranks else self.activation.is_end


@jax.jit
def all_real_parameters(
    params: Mapping[str, RealNeurons],
) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    """`bimonn_jax.neurons.real_parameters` of several sets of neurons, as one program."""
    return {path: real_parameters(neurons) for path, neurons in params.items()}


def decide_all(params: Mapping[str, RealNeurons]) -> dict[str, Decision]:
    """Which neurons are activated, and as what: for `binarize` and `bimonn_jax.certify` alike.

    W and B are those that run, in the dtype of the parameters. Whether they are activated is then
    decided in float64; under a trace, or for neurons that several devices hold, in that dtype, but
    at least in float32.
    """
    return {path: _decide(*fields) for path, fields in all_real_parameters(params).items()}


def _is_on_host(x: jax.Array) -> bool:
    return not isinstance(x, jax.core.Tracer) and x.sharding.num_devices == 1


def _decide(W: jax.Array, B: jax.Array, p: jax.Array) -> Decision:
    W = flat_weight(W, B)
    if _is_on_host(B):
        # Float64 holds all shorter types exactly.
        columns, biases, scales = (np.asarray(v, np.float64) for v in (W, B, p))
        found = activation_on_host(columns, biases, scales)
        return Decision(columns, biases, np.signbit(scales), found)
    dtype = jnp.promote_types(jnp.promote_types(W.dtype, B.dtype), jnp.float32)
    W, B = W.astype(dtype), B.astype(dtype)
    # By the sign bit: p < 0 fails for a subnormal p where those are flushed to zero.
    return Decision(W, B, jnp.signbit(p), activation(W, B, p.astype(B.dtype)))

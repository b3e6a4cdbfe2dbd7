"""What becomes of rank neurons while they train: how many inputs they read, and at which ranks."""

from typing import Any

import jax
import jax.numpy as jnp

from bimonn_jax.neurons.params import RealNeurons, flat_weight, named_neurons, real_parameters


def rank_shares(params: Any) -> dict[str, jax.Array]:
    """Mean sizes of footprints and shares of ends, of all neurons that train as rank neurons.

    Args:
      params: a parameter tree.

    Returns:
      For each set of such neurons, floats (): footprint_share/PATH, the mean share of its inputs
      that a neuron reads, as they are or by their complements; and end_share/PATH, the share of
      neurons whose rank is at an end of what it can be, 1 or all inputs, or beyond: dilations,
      erosions and constants.
    """
    shares = {}
    for path, neurons in named_neurons(params).items():
        if isinstance(neurons, RealNeurons) and neurons.bias_reparam == "rank":
            W, B, _ = real_parameters(neurons)
            size, rank = jnp.sum(flat_weight(W, B), axis=0), jnp.floor(B) + 1
            inputs = W.size // B.size // 2
            shares[f"footprint_share/{path}"] = jnp.mean(size) / inputs
            shares[f"end_share/{path}"] = jnp.mean(((rank <= 1) | (rank >= size)).astype(B.dtype))
    return shares

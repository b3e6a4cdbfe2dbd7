"""Scales that grow while relaxed neurons learn, so that what layers pass on is almost binary."""

import jax
import jax.numpy as jnp

from bimonn_jax.neurons.params import Neurons, RealNeurons, map_neurons
from bimonn_jax.training.loop import Revise


def grow_scales(factor: float, *, start: int, until: int, every: int) -> Revise:
    """An ``after_evaluation`` of `bimonn_jax.fit` that multiplies the scales p of relaxed neurons.

    The larger p, the smaller the dead zones of a neuron's outputs: a network whose hidden maps are
    gray, which the next layer reads as such, is drawn to one that its binarization equals. The
    scales stay parameters, which the optimizer moves as before.

    Args:
      factor: by how much they have grown in the end, >= 1.
      start: the step from which they grow, by the same factor at each evaluation.
      until: the step at which they no longer do.
      every: how many steps there are between evaluations.

    Returns:
      (params, step) -> params. Neurons trained through the binarization stay as they are.

    Raises:
      ValueError: if the factor is below 1, or there is no evaluation from ``start`` to ``until``.
    """
    times = sum(start <= step < until for step in range(every, until, every))
    if factor < 1 or not times:
        raise ValueError(
            f"factor must be >= 1, and an evaluation (every {every} steps) be from start = {start} "
            f"on, before until = {until}; got factor {factor}"
        )

    def after_evaluation(params: object, step: jax.Array) -> object:
        grows = (start <= step) & (step < until)

        def grown(neurons: Neurons) -> Neurons:
            if not isinstance(neurons, RealNeurons) or neurons.threshold == "step":
                return neurons
            rate = jnp.where(grows, factor ** (1 / times), 1.0)
            return neurons.replace(scale=neurons.scale * rate.astype(neurons.scale.dtype))

        return map_neurons(grown, params)

    return after_evaluation

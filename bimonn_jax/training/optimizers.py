"""Optimizers for trees of neurons, schedules, and what stands between gradient and step."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bimonn_jax.networks.architecture import layer_outputs
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.neurons.params import Neurons, RealNeurons, map_neurons
from bimonn_jax.neurons.reparam import BINARY


def _keep_in_unit_interval() -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        clipped = jax.tree.map(lambda u, p: jnp.clip(p + u, 0.0, 1.0) - p, updates, params)
        return clipped, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _labels(params: Any) -> Any:
    def of(neurons: Neurons) -> Neurons:
        if not isinstance(neurons, RealNeurons) or neurons.weight_reparam not in BINARY:
            return neurons
        tags: Any = {"weight": "latent", "scale": "frozen"}
        # Operators are chosen, ranks are learned.
        return replace(
            neurons, **tags | ({"bias": "frozen"} if neurons.bias_reparam == "boolean" else {})
        )

    return map_neurons(of, jax.tree.map(lambda _: "real", params))


def optimizer_for(
    *,
    real: optax.GradientTransformation | None = None,
    latent: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """An optimizer that treats each kind of parameter as it needs.

    Args:
      real: for real-valued parameters; Adam with learning rate 1e-2 by default.
      latent: for the weights of neurons trained through the binarization, which are kept in [0, 1];
        SGD with momentum 0.9 and learning rate 2 by default (BUILD_NOTES.md: Adam kills neurons).
        Their operators and scales stay as they started; ranks are real-valued parameters. For rank
        neurons see `rank_optimizer`.
    """
    transforms = {
        "real": real or optax.adam(1e-2),
        "latent": optax.chain(latent or optax.sgd(2.0, momentum=0.9), _keep_in_unit_interval()),
        "frozen": optax.set_to_zero(),
    }
    return optax.multi_transform(transforms, _labels)


def rank_optimizer(
    steps: int, *, learning_rate: float = 1e-2, warmup: int = 200
) -> optax.GradientTransformation:
    """Adam for networks of rank neurons: footprints, ranks and heads, at one rate.

    Args:
      steps: how many there will be; the rate falls to 0 by a cosine.
      learning_rate: of ranks and heads; of the latents of footprints half of it, for what counts
        is the difference of two.
      warmup: steps at first in which the rate rises.
    """
    rise = min(warmup, steps // 10)
    rate, half = (
        optax.warmup_cosine_decay_schedule(0.0, peak, rise, steps)
        for peak in (learning_rate, learning_rate / 2)
    )
    return optimizer_for(real=optax.adam(rate), latent=optax.adam(half))


def warmup_cosine(learning_rate: float, steps: int, *, warmup: int = 50) -> optax.Schedule:
    """Linear warm-up, then a cosine down to 5 %: for latents, whose first steps flip many bits."""
    return optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, min(warmup, steps // 2), steps, end_value=0.05 * learning_rate
    )


def mean_over_positions(
    architecture: Architecture, params: Any, images: jax.Array
) -> optax.GradientTransformation:
    """Divides each layer's gradient by the number of its outputs per feature and image.

    A convolution's gradient is a sum over the positions of its (pooled) outputs; with their mean,
    one learning rate suits it and dense layers.

    Args:
      architecture: of the network.
      params: its parameters.
      images: (N, H, W, C), of which only the shape counts.
    """
    outputs = jax.eval_shape(lambda p, x: layer_outputs(architecture, p, x), params, images[:1])
    positions = {
        layer.name: math.prod(output.shape[1:-1])
        for layer, output in zip(architecture, outputs, strict=True)
        if layer.parts
    }

    def mean(keys: Any, gradient: jax.Array) -> jax.Array:
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        names = [name for name in positions if path.startswith(f"{name}/" if name else "")]
        averaged: jax.Array = gradient / positions[max(names, key=len)]
        return averaged

    def update(updates: Any, params: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(mean, updates)

    return optax.stateless(update)

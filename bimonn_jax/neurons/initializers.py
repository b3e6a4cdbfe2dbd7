"""Initial BiSE parameters (arXiv 2401.03830, section 3): outputs with mean 1/2 and known variance.

With n inputs of mean m_in and p0 = (sqrt 3 + 2) sqrt n / (8 xi^-1(0.95)): W uniform with mean
(sqrt 3 + 2) / (4 p0 sqrt n) = 2 xi^-1(0.95) / n and variance 1 / (p0^2 n) - mean^2, B = m_in sum W
up to 1 %, p = p0. The first output's variance then does not depend on n.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from bimonn_jax._support.random_arrays import normal, uniform
from bimonn_jax.neurons.params import RealNeurons, halves_back, per_neuron
from bimonn_jax.neurons.reparam import BIASES, BINARY, WEIGHTS, check_names, dual_total

Operator = Literal["dilation", "erosion", "mixed"]
FlaxInitializer = Callable[[jax.Array, tuple[int, ...], jnp.dtype], jax.Array]

_INITS = ("balanced", "heuristic")
_OPERATORS = ("dilation", "erosion", "mixed")


@dataclass(frozen=True)
class NeuronConfig:
    """The static choices of a layer's neurons and how they start.

    Attributes:
      weight_reparam: "identity", "positive", "dual", "boolean" (see `NeuronConfig.boolean`), or
        "ternary" and "ternary_sparse" (see `NeuronConfig.rank`).
      bias_reparam: "identity", "positive", "projected", "reparametrized" (and their
        "_two_smallest" variants), "boolean", or "rank".
      threshold: "tanh", "sigmoid", "erf", "arctan", or "step".
      init: "balanced" (this module's formula), "heuristic" (W uniform around 2 / n, B at half of
        the sum of W, p = 1: the earlier papers), or a Flax initializer for the free weights.
      input_mean: m_in, in (0, 1); measure it on the data for the first layer.
      operator: where neurons start when trained through the binarization: "dilation", "erosion"
        or "mixed" (every other one); ignored otherwise, also by rank neurons.
      temperature: 1 / p of neurons trained through the binarization: how far from flipping the
        surrogate gradient still reaches, in pixels; of rank neurons, in roots of the number of
        their inputs. Ignored otherwise.

    Raises:
      ValueError: for unknown names, names that do not go together, or numbers out of range.
    """

    weight_reparam: str = "positive"
    bias_reparam: str = "projected"
    threshold: str = "tanh"
    init: str | FlaxInitializer = "balanced"
    input_mean: float = 0.5
    operator: Operator = "dilation"
    temperature: float = 2.0

    def __post_init__(self) -> None:
        """Checks the choices."""
        check_names(self.weight_reparam, self.bias_reparam, self.threshold)
        if isinstance(self.init, str) and self.init not in _INITS:
            raise ValueError(f"init must be one of {_INITS} or callable; got {self.init!r}")
        if self.operator not in _OPERATORS:
            raise ValueError(f"operator must be one of {_OPERATORS}; got {self.operator!r}")
        if not 0 < self.input_mean < 1:
            raise ValueError(f"input_mean must be in (0, 1); got {self.input_mean}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be > 0 and finite; got {self.temperature}")

    @classmethod
    def boolean(cls, operator: Operator, *, temperature: float = 2.0) -> "NeuronConfig":
        """Neurons whose forward pass is boolean, trained with a surrogate gradient."""
        return cls("boolean", "boolean", "step", operator=operator, temperature=temperature)

    @classmethod
    def rank(
        cls, *, sparse: bool = False, input_mean: float = 0.5, temperature: float = 0.25
    ) -> "NeuronConfig":
        """Neurons over inputs and their complements whose forward pass is that of `RankNeurons`.

        Footprints and ranks are both learned. They start at random, where as many inputs of a
        footprint are set as the mean says.

        Args:
          sparse: footprints of about a quarter of the inputs; otherwise of more than half.
          input_mean: m_in, in (0, 1).
          temperature: 1 / p in roots of the number of inputs, about how far their sums spread.
        """
        weights = "ternary_sparse" if sparse else "ternary"
        return cls(weights, "rank", "step", input_mean=input_mean, temperature=temperature)

    @property
    def is_boolean(self) -> bool:
        """Whether the neurons are trained through the binarization."""
        return self.weight_reparam in BINARY


def init_neurons(
    key: jax.Array,
    weight_shape: tuple[int, ...],
    neuron_rank: int,
    config: NeuronConfig,
) -> RealNeurons:
    """Draws the parameters of a set of neurons.

    Args:
      key: a JAX random key.
      weight_shape: (footprint..., neurons...).
      neuron_rank: how many of the trailing axes index the neurons.
      config: the choices.

    Returns:
      Float32 parameters.

    Raises:
      ValueError: if a neuron has fewer than 2 inputs where its bias range needs the two smallest.
    """
    neuron_shape = weight_shape[len(weight_shape) - neuron_rank :]
    fan_in = math.prod(weight_shape[: len(weight_shape) - neuron_rank])
    if config.bias_reparam.endswith("two_smallest") and fan_in < 2:
        raise ValueError(
            f"bias_reparam={config.bias_reparam!r} needs neurons of at least 2 inputs, got "
            f"{fan_in}: use {config.bias_reparam.removesuffix('_two_smallest')!r}"
        )
    weight_key, bias_key = jax.random.split(key)
    draw = {"boolean": _draw_boolean, "rank": _draw_ternary}.get(config.bias_reparam, _draw_real)
    weight, bias, scale = draw(weight_key, bias_key, (fan_in, *neuron_shape), config)
    are_ranks = config.bias_reparam == "rank"
    return RealNeurons(
        weight=halves_back(weight, weight_shape) if are_ranks else weight.reshape(weight_shape),
        bias=bias,
        scale=jnp.full(neuron_shape, scale, jnp.float32),
        weight_reparam=config.weight_reparam,
        bias_reparam=config.bias_reparam,
        threshold=config.threshold,
    )


Draw = tuple[jax.Array, jax.Array, jax.Array | float]


def _draw_real(
    weight_key: jax.Array, bias_key: jax.Array, shape: tuple[int, ...], config: NeuronConfig
) -> Draw:
    n = shape[0]
    total = dual_total(config.threshold)
    reparam, rank = WEIGHTS[config.weight_reparam], len(shape) - 1
    scale: jax.Array | float = 1.0
    if callable(config.init):
        omega = config.init(weight_key, shape, jnp.float32)
    else:
        if config.init == "balanced":
            scale = (math.sqrt(3) + 2) * math.sqrt(n) / (4 * total)
            mean = total / n
            half_width = jnp.sqrt(3 * (1 / (scale**2 * n) - mean**2))
        else:
            mean, half_width = jnp.float32(2 / n), jnp.float32(1 / n)
        W = uniform(weight_key, shape, minval=mean - half_width, maxval=mean + half_width)
        omega = reparam.inverse(W)
    W = per_neuron(lambda w: reparam.forward(w, total), rank)(omega)
    jitter = uniform(bias_key, shape[1:], minval=0.99, maxval=1.01)
    B = config.input_mean * jnp.sum(W, axis=0) * jitter
    if config.bias_reparam != "identity":
        B = jnp.maximum(B, 1e-3)  # The others reach positive biases only.
    beta = per_neuron(BIASES[config.bias_reparam].inverse, rank)(B, W)
    return omega, beta, scale


def _draw_boolean(
    weight_key: jax.Array, bias_key: jax.Array, shape: tuple[int, ...], config: NeuronConfig
) -> Draw:
    # Latents on both sides of 1/2: a random half of the inputs starts in the footprint.
    omega = uniform(weight_key, shape)
    index = jnp.arange(math.prod(shape[1:])).reshape(shape[1:])
    is_erosion = {"dilation": index < 0, "erosion": index >= 0, "mixed": index % 2 == 1}
    return omega, is_erosion[config.operator].astype(jnp.float32), 1 / config.temperature


def _draw_ternary(
    weight_key: jax.Array, bias_key: jax.Array, shape: tuple[int, ...], config: NeuronConfig
) -> Draw:
    # Differences on both sides of 0, small enough that training can change all of them.
    n = shape[0] // 2
    d = 0.05 * normal(weight_key, (n, *shape[1:]))
    omega = jnp.concatenate([0.5 + d, 0.5 - d])
    W = WEIGHTS[config.weight_reparam].forward(omega, jnp.float32(1))
    means = jnp.repeat(jnp.float32([config.input_mean, 1 - config.input_mean]), n)
    B = jnp.einsum("i,i...->...", means, W)
    return omega, BIASES["rank"].inverse(B, W), 1 / (config.temperature * n**0.5)

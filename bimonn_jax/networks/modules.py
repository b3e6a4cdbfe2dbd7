"""Flax modules: each declares its neurons and calls the pure function of its kind.

Images are NHWC. A module creates `RealNeurons`; apply it with a binarised tree and it computes the
boolean layer, bool in and bool out. ``describe(name)`` gives its `Layer` for an architecture.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.serialization import from_state_dict, register_serialization_state, to_state_dict

from bimonn_jax._support.random_arrays import normal
from bimonn_jax.morphology.levels import LevelThresholds, as_numbers
from bimonn_jax.morphology.windows import Border, Padding
from bimonn_jax.networks.architecture import LAYERS, Layer
from bimonn_jax.neurons.heads import TernaryLatents, TernaryWeights
from bimonn_jax.neurons.initializers import NeuronConfig, init_neurons
from bimonn_jax.neurons.params import BooleanNeurons, Neurons, RealNeurons


def _serialize_as_flax(node: type) -> None:
    """Lets `flax.serialization` take a tree of ours as it takes its own dataclasses."""
    names = [f.name for f in dataclasses.fields(node) if not f.metadata.get("static")]

    def to_state(value: Any) -> dict[str, Any]:
        return {name: to_state_dict(getattr(value, name)) for name in names}

    def from_state(value: Any, state: dict[str, Any]) -> Any:
        if set(state) != set(names):
            raise ValueError(f"{node.__name__} has the fields {names}; got {sorted(state)}")
        restored = {n: from_state_dict(getattr(value, n), state[n], name=n) for n in names}
        return dataclasses.replace(value, **restored)

    register_serialization_state(node, to_state, from_state)


for _node in (RealNeurons, BooleanNeurons, TernaryLatents, TernaryWeights):
    _serialize_as_flax(_node)


def _check_image(module: nn.Module, x: jax.Array) -> jax.Array:
    x = jnp.asarray(x)
    if x.ndim < 3:
        raise ValueError(
            f"{type(module).__name__} takes images (..., height, width, channels); x has shape "
            f"{x.shape}: add a channel axis with x[..., None]"
        )
    return x


def _check_features(module: nn.Module, x: jax.Array) -> jax.Array:
    x = jnp.asarray(x)
    if x.ndim < 1:
        raise ValueError(f"{type(module).__name__} takes (..., features); x is a scalar")
    return x


def _check_odd(kernel_size: Sequence[int], padding: Padding) -> None:
    if len(kernel_size) != 2 or any(k < 1 for k in kernel_size):
        raise ValueError(f"kernel_size must be two ints >= 1; got {tuple(kernel_size)}")
    if padding == "SAME" and any(k % 2 == 0 for k in kernel_size):
        raise ValueError(
            f"kernel_size must be odd for padding='SAME', which centres it; got "
            f"{tuple(kernel_size)}: use odd sizes, or say where an even kernel reaches by "
            "padding=((before, after), (before, after))"
        )


class _NeuronLayer(nn.Module):
    """Shared by the layers of neurons: declaring them."""

    def neurons(
        self, name: str, shape: tuple[int, ...], rank: int, config: NeuronConfig
    ) -> Neurons:
        if min(shape) < 1:
            raise ValueError(
                f"{type(self).__name__} would have weights of shape {shape}: features, channels "
                "and kernel sizes must be >= 1"
            )
        return self.param(name, init_neurons, shape, rank, config)


class BiSE(_NeuronLayer):
    """Binary structuring element neurons, each over one input channel (grouped convolution).

    (..., H, W, C) -> (..., H', W', features), the neurons of channel 0 first.

    Attributes:
      features: output channels, a multiple of the input channels.
      kernel_size: odd sizes, or any with explicit padding.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
      config: reparametrisations and initial values.
    """

    features: int
    kernel_size: tuple[int, int]
    padding: Padding = "SAME"
    border: Border = "zero"
    config: NeuronConfig = NeuronConfig()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_image(self, x)
        _check_odd(self.kernel_size, self.padding)
        channels = x.shape[-1]
        if self.features % channels:
            raise ValueError(
                f"features must be a multiple of the {channels} input channels; got {self.features}"
            )
        shape = (*self.kernel_size, channels, self.features // channels)
        bise = self.neurons("bise", shape, 2, self.config)
        return LAYERS["bise"]({"bise": bise}, x, padding=self.padding, border=self.border)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("bise", name, {"padding": self.padding, "border": self.border})


class LUI(_NeuronLayer):
    """Layer of unions and intersections: neurons over all channels of a pixel.

    (..., C) -> (..., features).

    Attributes:
      features: output channels.
      config: reparametrisations and initial values.
    """

    features: int
    config: NeuronConfig = NeuronConfig()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_features(self, x)
        lui = self.neurons("lui", (x.shape[-1], self.features), 1, self.config)
        return LAYERS["lui"]({"lui": lui}, x)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("lui", name)


class DenseLUI(LUI):
    """The dense layer: `LUI` over flat features, (..., n) -> (..., features)."""

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("dense_lui", name)


class HitOrMiss(LUI):
    """Dense neurons over the input and its complement, (..., n) -> (..., features).

    With erosions, each is a hit-or-miss transform: 2 n weights, for inputs that must be 1 and
    inputs that must be 0. Computes what `Complement` and `DenseLUI` would, in half of the time.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_features(self, x)
        lui = self.neurons("lui", (2 * x.shape[-1], self.features), 1, self.config)
        return LAYERS["hit_or_miss"]({"lui": lui}, x)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("hit_or_miss", name)


class HitOrMissConv(_NeuronLayer):
    """Neurons over all channels of a window of the image and its complement, pooled by unions.

    (..., H, W, C) -> (..., H'', W'', features). With erosions, each is the hit-or-miss transform of
    the image; the pooling marks the windows of outputs in which it hits.

    Attributes:
      features: output channels.
      kernel_size: any sizes with padding "VALID", odd ones with "SAME".
      padding: "VALID", "SAME", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
      pool: side and stride of the windows of the union; 1 for none.
      config: reparametrisations and initial values.
    """

    features: int
    kernel_size: tuple[int, int]
    padding: Padding = "VALID"
    border: Border = "zero"
    pool: int = 1
    config: NeuronConfig = NeuronConfig()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_image(self, x)
        _check_odd(self.kernel_size, self.padding)
        shape = (*self.kernel_size, 2 * x.shape[-1], self.features)
        layer = self.describe()
        params = {"lui": self.neurons("lui", shape, 1, self.config)}
        return LAYERS[layer.kind](params, x, **layer.options)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        options = {"padding": self.padding, "border": self.border, "pool": self.pool}
        return Layer("hit_or_miss_conv", name, options)


class BiSEL(_NeuronLayer):
    """BiSE layer: a BiSE neuron for every (input, output) pair, then a union or intersection.

    (..., H, W, C) -> (..., H', W', features). Shares its maps as a convolution does, with a LUI
    neuron in place of the sum over the input channels.

    Attributes:
      features: output channels.
      kernel_size: odd sizes, or any with explicit padding.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
      config: reparametrisations and initial values of the BiSE neurons.
      lui_config: those of the LUI neurons; None for ``config`` with an input mean of 1/2.
    """

    features: int
    kernel_size: tuple[int, int]
    padding: Padding = "SAME"
    border: Border = "zero"
    config: NeuronConfig = NeuronConfig()
    lui_config: NeuronConfig | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_image(self, x)
        _check_odd(self.kernel_size, self.padding)
        shape = (*self.kernel_size, x.shape[-1], self.features)
        lui_config = self.lui_config or dataclasses.replace(self.config, input_mean=0.5)
        params = {
            "bise": self.neurons("bise", shape, 2, self.config),
            "lui": self.neurons("lui", shape[2:], 1, lui_config),
        }
        return LAYERS["bisel"](params, x, padding=self.padding, border=self.border)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("bisel", name, {"padding": self.padding, "border": self.border})


class Complement(nn.Module):
    """Appends the complement of every channel, (..., C) -> (..., 2 C).

    Lets a network with positive weights express operators that are not increasing.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        return LAYERS["complement"]({}, _check_features(self, x))

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("complement")


class LevelSets(nn.Module):
    """Binary channels [x_c >= t_k] of grayscale or colour images, (..., C) -> bool (..., C q).

    Attributes:
      thresholds: q increasing values for all channels, or one row of q per channel.
    """

    thresholds: LevelThresholds

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_features(self, as_numbers(x))
        return LAYERS["level_sets"]({}, x, thresholds=self.thresholds)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("level_sets", "", {"thresholds": np.asarray(self.thresholds).tolist()})


class Flatten(nn.Module):
    """Flattens the last ``rank`` axes, (..., H, W, C) -> (..., H W C)."""

    rank: int = 3

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        if self.rank < 1:
            raise ValueError(f"rank must be >= 1; got {self.rank}")
        return LAYERS["flatten"]({}, jnp.asarray(x), rank=self.rank)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("flatten", "", {"rank": self.rank})


class RealHead(nn.Module):
    """A linear classification layer with real weights, also after binarisation (section 3)."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        x = _check_features(self, x)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return LAYERS["dense"]({"kernel": kernel, "bias": bias}, x)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("dense", name)


class TernaryHead(nn.Module):
    """A classification layer with weights in {-1, 0, 1}, also while it is trained.

    Attributes:
      features: classes.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer: scores (..., classes)."""
        x = _check_features(self, x)

        def init(key: jax.Array, shape: tuple[int, int]) -> TernaryLatents:
            return TernaryLatents(0.3 * normal(key, shape))

        head = self.param("head", init, (x.shape[-1], self.features))
        return LAYERS["ternary"]({"head": head}, x)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("ternary", name)


class PopcountHead(nn.Module):
    """Counts the set bits of a group of features per class, half of each group voting against.

    Attributes:
      features: classes.
    """

    features: int

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer: scores (..., classes)."""
        return LAYERS["popcount"]({}, _check_features(self, x), classes=self.features)

    def describe(self, name: str = "") -> Layer:
        """This layer as an entry of an architecture."""
        return Layer("popcount", "", {"classes": self.features})

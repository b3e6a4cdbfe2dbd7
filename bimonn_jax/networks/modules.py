"""Flax modules: each declares the parameters of a kind of layer and runs it.

Images are NHWC. A module creates `RealNeurons`; apply it with a binarized tree and it computes the
boolean layer, bool in and bool out. ``layer()`` says which layer it is.
"""

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.serialization import from_state_dict, register_serialization_state, to_state_dict
from typing_extensions import override

from bimonn_jax._support.random_arrays import normal
from bimonn_jax.morphology.levels import LevelThresholds, as_numbers
from bimonn_jax.morphology.windows import Border, Padding
from bimonn_jax.networks.architecture import apply, concatenated
from bimonn_jax.networks.kinds import (
    BiSELayer,
    BiSELLayer,
    ComplementLayer,
    ConcatenateLayer,
    FlattenLayer,
    HitOrMissConvLayer,
    HitOrMissLayer,
    Layer,
    LevelSetsLayer,
    LUIConvLayer,
    LUILayer,
    NeuronLayer,
    PopcountLayer,
    RealLayer,
    TernaryLayer,
    UpsampleLayer,
    options_of,
)
from bimonn_jax.neurons.heads import TernaryLatents, TernaryWeights
from bimonn_jax.neurons.initializers import NeuronConfig, init_neurons
from bimonn_jax.neurons.params import BooleanNeurons, Neurons, RankNeurons, RealNeurons
from bimonn_jax.neurons.sets import NeuronSet, Reads


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


for _node in (RealNeurons, BooleanNeurons, RankNeurons, TernaryLatents, TernaryWeights):
    _serialize_as_flax(_node)


KernelSize = int | tuple[int, int]


class LayerModule(nn.Module):
    """A module that is one layer of an architecture: the base of all that follow here.

    Subclasses say by ``kind`` which one; of its options they have as fields of the same names those
    that are to be chosen. Or they say it in `layer`. What they have beside that are parameters.
    """

    kind: ClassVar[type[Layer]] = Layer

    def layer(self, name: str = "", inputs: tuple[str, ...] = ()) -> Layer:
        """This layer as part of an architecture.

        Args:
          name: where its parameters will stand.
          inputs: the names of the layers that it reads, () for the one before it.
        """
        if self.kind is Layer:
            raise NotImplementedError(f"{type(self).__name__} does not say which layer it is")
        options = {
            option: getattr(self, option)
            for option in options_of(self.kind)
            if hasattr(self, option)
        }
        return self.kind(name, inputs=inputs, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        return apply(self.layer(), {}, jnp.asarray(x))


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


def _sides(kernel_size: KernelSize, padding: Padding) -> tuple[int, int]:
    """Height and width of a kernel; ValueError unless it fits the padding."""
    sides = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
    if len(sides) != 2 or any(k < 1 for k in sides):
        raise ValueError(f"kernel_size must be an int >= 1 or two; got {kernel_size}")
    if padding == "SAME" and any(k % 2 == 0 for k in sides):
        raise ValueError(
            f"kernel_size must be odd for padding='SAME', which centers it; got {kernel_size}: use "
            "odd sizes, or say where an even kernel reaches by "
            "padding=((before, after), (before, after))"
        )
    return sides[0], sides[1]


class NeuronModule(LayerModule):
    """A layer of neurons: `layer` gives a `NeuronLayer`, which says how they are wired.

    Subclasses have the fields ``features`` and ``config``, and ``kernel_size`` if they slide.
    """

    def config_of(self, part: str) -> NeuronConfig:
        """How the neurons of a part start."""
        config: NeuronConfig = self.config
        return config

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        layer = self.layer()
        if not isinstance(layer, NeuronLayer):
            raise TypeError(f"{type(self).__name__} must be a layer of neurons; got {layer}")
        slides = any(neuron_set.slides for neuron_set in layer.sets)
        x = _check_image(self, x) if slides else _check_features(self, x)
        kernel_size = _sides(self.kernel_size, layer.window["padding"]) if slides else (1, 1)
        channels, features = x.shape[-1], self.features
        if layer.sets[-1].reads is Reads.OWN_CHANNEL:
            if features % channels:
                raise ValueError(
                    f"features must be a multiple of the {channels} input channels; got {features}"
                )
            features //= channels
        own = {}
        # What the neurons of all channels read: those of own channels give several maps each.
        maps = channels
        for neuron_set in layer.sets:
            reads_maps = neuron_set.reads is Reads.ALL
            rows = maps if reads_maps else channels
            shape = neuron_set.weight_shape(rows, features, kernel_size)
            own[neuron_set.part] = self._neurons(neuron_set, shape)
            maps = channels * features if neuron_set.reads is Reads.OWN_CHANNEL else features
        return apply(layer, own, x)

    def _neurons(self, neuron_set: NeuronSet, shape: tuple[int, ...]) -> Neurons:
        if min(shape) < 1:
            raise ValueError(
                f"{type(self).__name__} would have weights of shape {shape}: features, channels "
                "and kernel sizes must be >= 1"
            )
        config = self.config_of(neuron_set.part)
        if config.weight_reparam.startswith("ternary") and not neuron_set.complements:
            raise ValueError(
                f"weight_reparam={config.weight_reparam!r} is of neurons that read complements "
                f"too; those of {type(self).__name__} do not: take HitOrMiss or HitOrMissConv"
            )
        return self.param(neuron_set.part, init_neurons, shape, neuron_set.neuron_rank, config)


class BiSE(NeuronModule):
    """Binary structuring element neurons, each over one input channel (grouped convolution).

    (..., H, W, C) -> (..., H', W', features), the neurons of channel 0 first.

    Attributes:
      features: output channels, a multiple of the input channels.
      kernel_size: odd sizes, or any with explicit padding; one int for a square.
      config: reparametrizations and initial values.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
    """

    kind = BiSELayer

    features: int
    kernel_size: KernelSize
    config: NeuronConfig = NeuronConfig()
    _: KW_ONLY
    padding: Padding = "SAME"
    border: Border = "zero"


class BiSEL(NeuronModule):
    """BiSE layer: a BiSE neuron for every (input, output) pair, then a union or intersection.

    (..., H, W, C) -> (..., H', W', features). Shares its maps as a convolution does, with a LUI
    neuron in place of the sum over the input channels.

    Attributes:
      features: output channels.
      kernel_size: odd sizes, or any with explicit padding; one int for a square.
      config: reparametrizations and initial values of the BiSE neurons.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
      lui_config: those of the LUI neurons; None for ``config`` with an input mean of 1/2.
    """

    kind = BiSELLayer

    features: int
    kernel_size: KernelSize
    config: NeuronConfig = NeuronConfig()
    _: KW_ONLY
    padding: Padding = "SAME"
    border: Border = "zero"
    lui_config: NeuronConfig | None = None

    @override
    def config_of(self, part: str) -> NeuronConfig:
        if part == "bise":
            return self.config
        return self.lui_config or dataclasses.replace(self.config, input_mean=0.5)


class LUI(NeuronModule):
    """Layer of unions and intersections: neurons over all channels of a pixel, or flat features.

    (..., C) -> (..., features).

    Attributes:
      features: output channels.
      config: reparametrizations and initial values.
    """

    kind = LUILayer

    features: int
    config: NeuronConfig = NeuronConfig()


class LUIConv(NeuronModule):
    """Neurons over all channels of a window of the image, pooled by unions.

    (..., H, W, C) -> (..., H'', W'', features); the pooling marks the windows of outputs in which
    a neuron fires.

    Attributes:
      features: output channels.
      kernel_size: odd sizes, or any with explicit padding; one int for a square.
      config: reparametrizations and initial values.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
      pool: side and stride of the windows of the union; 1 for none.
    """

    kind = LUIConvLayer

    features: int
    kernel_size: KernelSize
    config: NeuronConfig = NeuronConfig()
    _: KW_ONLY
    padding: Padding = "SAME"
    border: Border = "zero"
    pool: int = 1


class HitOrMiss(NeuronModule):
    """Neurons over the input and its complement, (..., n) -> (..., features).

    With erosions, each is a hit-or-miss transform: 2 n weights, for inputs that must be 1 and
    inputs that must be 0. Computes what `Complement` and `LUI` would, in half of the time.

    Attributes:
      features: output channels.
      config: reparametrizations and initial values.
    """

    kind = HitOrMissLayer

    features: int
    config: NeuronConfig = NeuronConfig()


class HitOrMissConv(NeuronModule):
    """Neurons over all channels of a window of the image and its complement, pooled by unions.

    (..., H, W, C) -> (..., H'', W'', features). With erosions, each is the hit-or-miss transform of
    the image; the pooling marks the windows of outputs in which it hits.

    Attributes:
      features: output channels.
      kernel_size: any sizes with padding "VALID", odd ones with "SAME"; one int for a square.
      config: reparametrizations and initial values.
      padding: "VALID", "SAME", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
      pool: side and stride of the windows of the union; 1 for none.
    """

    kind = HitOrMissConvLayer

    features: int
    kernel_size: KernelSize
    config: NeuronConfig = NeuronConfig()
    _: KW_ONLY
    padding: Padding = "VALID"
    border: Border = "zero"
    pool: int = 1


class Complement(LayerModule):
    """Appends the complement of every channel, (..., C) -> (..., 2 C).

    Lets a network with positive weights express operators that are not increasing.
    """

    kind = ComplementLayer

    @override
    def __call__(self, x: jax.Array) -> jax.Array:
        return super().__call__(_check_features(self, x))


class LevelSets(LayerModule):
    """Binary channels [x_c >= t_k] of grayscale or color images, (..., C) -> bool (..., C q).

    Attributes:
      thresholds: q increasing values for all channels, or one row of q per channel.
    """

    thresholds: LevelThresholds

    @override
    def layer(self, name: str = "", inputs: tuple[str, ...] = ()) -> LevelSetsLayer:
        thresholds = np.asarray(self.thresholds).tolist()
        return LevelSetsLayer(name, inputs=inputs, thresholds=thresholds)

    @override
    def __call__(self, x: jax.Array) -> jax.Array:
        return super().__call__(_check_features(self, as_numbers(x)))


class Flatten(LayerModule):
    """Flattens the last ``rank`` axes, (..., H, W, C) -> (..., H W C)."""

    kind = FlattenLayer

    rank: int = 3


class Concatenate(LayerModule):
    """Joins images along their channels, in order: bool if all are, else float."""

    kind = ConcatenateLayer

    @override
    def __call__(self, *images: jax.Array) -> jax.Array:
        names = tuple(f"image {i}" for i in range(len(images)))
        layer = self.layer(inputs=names)
        return concatenated(layer, [_check_features(self, image) for image in images])


class Upsample(LayerModule):
    """Repeats every pixel, (..., H, W, C) -> (..., factor H, factor W, C).

    Called with a second image, it cuts the result to the height and width of that one: of the
    image before pooling, whose last windows may have reached beyond it.

    Attributes:
      factor: rows and columns of each pixel.
    """

    kind = UpsampleLayer

    factor: int = 2

    @override
    def __call__(self, x: jax.Array, *like: jax.Array) -> jax.Array:
        return apply(self.layer(), {}, *(_check_image(self, image) for image in (x, *like)))


class RealHead(LayerModule):
    """A linear classification layer with real weights, also after binarization (section 3).

    Attributes:
      features: classes.
    """

    kind = RealLayer

    features: int

    @override
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = _check_features(self, x)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return apply(self.layer(), {"kernel": kernel, "bias": bias}, x)


class TernaryHead(LayerModule):
    """A classification layer with weights in {-1, 0, 1}, also while it is trained.

    (..., n) -> scores (..., features).

    Attributes:
      features: classes.
    """

    kind = TernaryLayer

    features: int

    @override
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = _check_features(self, x)

        def init(key: jax.Array, shape: tuple[int, int]) -> TernaryLatents:
            return TernaryLatents(0.3 * normal(key, shape))

        head = self.param("head", init, (x.shape[-1], self.features))
        return apply(self.layer(), {"head": head}, x)


class PopcountHead(LayerModule):
    """Counts the set bits of a group of features per class, half of each group voting against.

    (..., n) -> scores (..., features).

    Attributes:
      features: classes.
    """

    features: int

    @override
    def layer(self, name: str = "", inputs: tuple[str, ...] = ()) -> PopcountLayer:
        return PopcountLayer(name, inputs=inputs, classes=self.features)

    @override
    def __call__(self, x: jax.Array) -> jax.Array:
        return super().__call__(_check_features(self, x))

"""Networks of morphological layers: chains, branches, skips."""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax
from typing_extensions import override

from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.morphology.windows import Border, Padding
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.networks.modules import (
    LUI,
    BiSEL,
    Complement,
    Concatenate,
    Flatten,
    KernelSize,
    LevelSets,
    RealHead,
    Upsample,
)
from bimonn_jax.networks.reading import architecture_of
from bimonn_jax.neurons.initializers import NeuronConfig


class Network(nn.Module):
    """A module made of layers, whose architecture can be read: the base of all that follow here."""

    @property
    def architecture(self) -> Architecture:
        """The network as data, for `certify`, saving and running without Flax."""
        return architecture_of(self)


class _Chain(Network):
    """Applies ``make_layers()`` in order."""

    def make_layers(self) -> tuple[nn.Module, ...]:
        """The layers, each made with ``parent=None``: they are bound by `setup`."""
        raise NotImplementedError

    def setup(self) -> None:
        """Binds the layers, as layers_0, layers_1, ..."""
        self.layers = self.make_layers()

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the network."""
        for layer in self.layers:
            x = layer(x)
        return x


def _unbound(modules: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    return tuple(module.clone(parent=None, name=None) for module in modules)


class Sequential(_Chain):
    """Layers and networks one after the other.

    Attributes:
      modules: in order.
    """

    modules: tuple[nn.Module, ...] = ()

    @override
    def make_layers(self) -> tuple[nn.Module, ...]:
        return _unbound(self.modules)


class Parallel(Network):
    """Layers and networks that all read the same, their outputs joined along the channels.

    Attributes:
      modules: in the order of their channels; images that they give are of one size.
    """

    modules: tuple[nn.Module, ...] = ()

    def setup(self) -> None:
        """Binds the branches, as branches_0, branches_1, ..."""
        self.branches = _unbound(self.modules)
        self.joined = Concatenate()

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the branches."""
        joined: jax.Array = self.joined(*(branch(x) for branch in self.branches))
        return joined


class Skip(Network):
    """What a layer or network reads, and what it gives, joined along the channels.

    Attributes:
      module: what is skipped.
      upsample: how often the rows and columns of what it gives are repeated, if it gives a smaller
        image: the product of its pools. With these a network sees several scales.
    """

    module: nn.Module
    upsample: int = 1

    def setup(self) -> None:
        """Binds what is skipped, as inner."""
        (self.inner,) = _unbound([self.module])
        self.upsampled = Upsample(self.upsample)
        self.joined = Concatenate()

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the network."""
        inner = self.inner(x)
        if self.upsample != 1:
            inner = self.upsampled(inner, x)
        joined: jax.Array = self.joined(x, inner)
        return joined


def _leading_layers(level_sets: LevelThresholds | None, complement: bool) -> tuple[nn.Module, ...]:
    first = () if level_sets is None else (LevelSets(level_sets, parent=None),)
    return (*first, Complement(parent=None)) if complement else first


def _per_layer(
    config: NeuronConfig | Sequence[NeuronConfig], count: int
) -> tuple[NeuronConfig, ...]:
    configs = (config,) * count if isinstance(config, NeuronConfig) else tuple(config)
    if len(configs) != count:
        raise ValueError(
            f"config has {len(configs)} entries for {count} layers: give one or {count}"
        )
    return configs


class BiMoNN(_Chain):
    """Binary morphological network: a chain of `BiSEL` layers on images (..., H, W, C).

    Attributes:
      features: output channels of each layer.
      kernel_size: of all layers.
      config: one `NeuronConfig` for all layers, or one per layer.
      lui_config: that of the LUI neurons; None for the layer's own.
      level_sets: thresholds of a leading `LevelSets`, or None for input that is binary.
      complement: whether the complements of the channels are appended to the input.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".
    """

    features: tuple[int, ...]
    kernel_size: KernelSize = 5
    config: NeuronConfig | tuple[NeuronConfig, ...] = NeuronConfig()
    _: KW_ONLY
    lui_config: NeuronConfig | None = None
    level_sets: LevelThresholds | None = None
    complement: bool = False
    padding: Padding = "SAME"
    border: Border = "zero"

    @override
    def make_layers(self) -> tuple[nn.Module, ...]:
        configs = _per_layer(self.config, len(self.features))
        bisels = (
            BiSEL(
                features,
                self.kernel_size,
                padding=self.padding,
                border=self.border,
                config=config,
                lui_config=self.lui_config,
                parent=None,
            )
            for features, config in zip(self.features, configs, strict=True)
        )
        return (*_leading_layers(self.level_sets, self.complement), *bisels)


class DenseBiMoNN(_Chain):
    """Dense morphological network: flatten, `LUI` hidden layers, a classification layer.

    (..., H, W, C) -> (..., classes): values in (0, 1) with a binary head, else logits.

    Attributes:
      hidden: features of each hidden layer.
      classes: features of the classification layer.
      binary_head: whether the classification layer is a `LUI` too, or a `RealHead`, which
        keeps its real weights after binarization.
      config: one `NeuronConfig` for all layers, or one per `LUI`.
      level_sets: thresholds of a leading `LevelSets`, or None for input that is binary.
      complement: whether the complements of the channels are appended to the input.
    """

    hidden: tuple[int, ...]
    classes: int
    binary_head: bool = False
    config: NeuronConfig | tuple[NeuronConfig, ...] = NeuronConfig()
    level_sets: LevelThresholds | None = None
    complement: bool = False

    @override
    def make_layers(self) -> tuple[nn.Module, ...]:
        features = (*self.hidden, self.classes) if self.binary_head else self.hidden
        configs = _per_layer(self.config, len(features))
        dense = (LUI(f, config=c, parent=None) for f, c in zip(features, configs, strict=True))
        head = () if self.binary_head else (RealHead(self.classes, parent=None),)
        return (
            *_leading_layers(self.level_sets, self.complement),
            Flatten(parent=None),
            *dense,
            *head,
        )

"""Networks of morphological layers, and their architecture as data."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.morphology.windows import Border, Padding
from bimonn_jax.networks.architecture import Architecture
from bimonn_jax.networks.modules import BiSEL, Complement, DenseLUI, Flatten, LevelSets, RealHead
from bimonn_jax.neurons.initializers import NeuronConfig


class _Chain(nn.Module):
    """Applies ``make_layers()`` in order; the base of the networks."""

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

    @property
    def architecture(self) -> Architecture:
        """The network as data, for `certify`, saving and running without Flax."""
        layers = self.make_layers()
        return tuple(layer.describe(f"layers_{i}") for i, layer in enumerate(layers))


class Sequential(_Chain):
    """Any chain of the modules in `bimonn_jax.networks.modules`.

    Attributes:
      modules: the layers, in order.
    """

    modules: tuple[nn.Module, ...] = ()

    def make_layers(self) -> tuple[nn.Module, ...]:
        """The layers, unbound."""
        return tuple(module.clone(parent=None, name=None) for module in self.modules)


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
    kernel_size: tuple[int, int] = (5, 5)
    config: NeuronConfig | tuple[NeuronConfig, ...] = NeuronConfig()
    lui_config: NeuronConfig | None = None
    level_sets: LevelThresholds | None = None
    complement: bool = False
    padding: Padding = "SAME"
    border: Border = "zero"

    def make_layers(self) -> tuple[nn.Module, ...]:
        """The layers, unbound."""
        configs = _per_layer(self.config, len(self.features))
        bisels = (
            BiSEL(
                features,
                self.kernel_size,
                self.padding,
                self.border,
                config,
                self.lui_config,
                parent=None,
            )
            for features, config in zip(self.features, configs, strict=True)
        )
        return (*_leading_layers(self.level_sets, self.complement), *bisels)


class DenseBiMoNN(_Chain):
    """Dense morphological network: flatten, `DenseLUI` hidden layers, a classification layer.

    (..., H, W, C) -> (..., classes): values in (0, 1) with a binary head, else logits.

    Attributes:
      hidden: features of each hidden layer.
      classes: features of the classification layer.
      binary_head: whether the classification layer is a `DenseLUI` too, or a `RealHead`, which
        keeps its real weights after binarisation.
      config: one `NeuronConfig` for all layers, or one per `DenseLUI`.
      level_sets: thresholds of a leading `LevelSets`, or None for input that is binary.
      complement: whether the complements of the channels are appended to the input.
    """

    hidden: tuple[int, ...]
    classes: int
    binary_head: bool = False
    config: NeuronConfig | tuple[NeuronConfig, ...] = NeuronConfig()
    level_sets: LevelThresholds | None = None
    complement: bool = False

    def make_layers(self) -> tuple[nn.Module, ...]:
        """The layers, unbound."""
        features = (*self.hidden, self.classes) if self.binary_head else self.hidden
        configs = _per_layer(self.config, len(features))
        dense = (DenseLUI(f, c, parent=None) for f, c in zip(features, configs, strict=True))
        head = () if self.binary_head else (RealHead(self.classes, parent=None),)
        return (
            *_leading_layers(self.level_sets, self.complement),
            Flatten(parent=None),
            *dense,
            *head,
        )

"""How a set of neurons is wired: what each neuron reads, as data that every pass looks at."""

from dataclasses import dataclass
from enum import Enum

import jax

from bimonn_jax.morphology.windows import Border, Padding
from bimonn_jax.neurons.apply import (
    apply_aligned,
    apply_conv,
    apply_dense,
    apply_windows,
    inputs_read,
)
from bimonn_jax.neurons.params import Neurons, weights_of


class Reads(Enum):
    """Which channels a neuron reads.

    OWN_CHANNEL: neuron (c, m) channel c; neurons (C, M). ALL: all of them; neurons (M,).
    OWN_COLUMN: neuron m the maps (c, m) of the neurons before it, for every c; neurons (M,).
    """

    OWN_CHANNEL = "own channel"
    ALL = "all channels"
    OWN_COLUMN = "own column"


@dataclass(frozen=True)
class NeuronSet:
    """A set of neurons of a layer.

    Attributes:
      part: its name in the layer's part of the parameter tree.
      reads: which channels a neuron reads.
      slides: whether over windows of the image; weights are then (kh, kw, C, M), else (C, M).
      complements: whether neurons read the complements of the channels too, after them.
    """

    part: str
    reads: Reads
    slides: bool = False
    complements: bool = False

    @property
    def weight_rank(self) -> int:
        """The number of axes of the weights."""
        return 4 if self.slides else 2

    @property
    def neuron_rank(self) -> int:
        """The number of axes that index the neurons."""
        return 2 if self.reads is Reads.OWN_CHANNEL else 1

    def weight_shape(
        self, channels: int, features: int, kernel_size: tuple[int, int]
    ) -> tuple[int, ...]:
        """The shape of the weights of ``features`` neurons, for each channel if they read one."""
        rows = channels * (2 if self.complements else 1)
        return (*kernel_size, rows, features) if self.slides else (rows, features)

    def channels(self, neurons: Neurons) -> tuple[int, int]:
        """Channels that the set reads and writes; ValueError if its weights do not tell."""
        rows, count = map(int, weights_of(neurons).shape[-2:])
        reads = inputs_read(rows, complements=self.complements)
        return (
            {
                Reads.ALL: (reads, count),
                Reads.OWN_CHANNEL: (reads, reads * count),
                Reads.OWN_COLUMN: (reads * count, count),
            }
        )[self.reads]


def apply_set(
    neuron_set: NeuronSet,
    neurons: Neurons,
    x: jax.Array,
    *,
    padding: Padding = "SAME",
    border: Border = "zero",
    pool: int = 1,
) -> jax.Array:
    """Applies neurons as they are wired.

    Args:
      neuron_set: how.
      neurons: their parameters, real or boolean.
      x: (..., H, W, C) or (..., C); (..., C, M) for a set of own columns.
      padding: of sets that slide: "SAME", "VALID", ints or pairs.
      border: of these, "zero", "edge", "reflect" or "wrap".
      pool: of these, the side and stride of a union over windows of outputs; 1 for none.

    Returns:
      (..., M), or (..., C, M) of neurons of own channels; bool of `BooleanNeurons`, else floats.
    """
    if neuron_set.reads is Reads.OWN_COLUMN:
        return apply_aligned(neurons, x)
    if neuron_set.reads is Reads.OWN_CHANNEL:
        return apply_conv(neurons, x, padding=padding, border=border)
    complements = neuron_set.complements
    if not neuron_set.slides:
        return apply_dense(neurons, x, complements=complements)
    return apply_windows(
        neurons, x, padding=padding, border=border, pool=pool, complements=complements
    )

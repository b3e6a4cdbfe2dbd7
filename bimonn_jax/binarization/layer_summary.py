"""What a network consists of, layer by layer: as text in a terminal, as a table in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from bimonn_jax.binarization.certificate import certify
from bimonn_jax.binarization.conversion import binarize
from bimonn_jax.binarization.neuron_proofs import LayerCertificate
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.neurons.heads import is_ternary
from bimonn_jax.neurons.params import (
    BinaryNeurons,
    RankNeurons,
    RealNeurons,
    is_neurons,
    named_neurons,
    weights_of,
)

_TITLES = (
    "layer",
    "weights",
    "neurons",
    "dilations",
    "erosions",
    "ranks",
    "copies",
    "constant",
    "complements",
    "activated",
    "mean footprint",
    "bits",
    "dead zone",
)


@dataclass(frozen=True)
class LayerSummary:
    """One set of neurons, or one set of other parameters (a head), of a network.

    What operator a neuron is, is said of the binary neuron: where it is not activated, of the one
    that `bimonn_jax.binarize` puts in its place.

    Attributes:
      path: where it stands in the parameter tree.
      shape: of its weights.
      neurons: how many; 0 for parameters that are none.
      dilations: neurons by operator and footprint size: proper dilations,
      erosions: proper erosions,
      ranks: what lies between the two,
      copies: footprints of one pixel,
      constant: and constants.
      complements: neurons whose output is complemented.
      activated: neurons that are activated, on binary inputs or on those that reach them, see
        `summary`; None if they are boolean already.
      mean_footprint: mean number of pixels of a footprint; None without neurons.
      bits: of the binary parameters: of a rank among n inputs as many as tell 0 to n; 32 for each
        real number.
      dead_zone: (v1, v2), the worst of the outputs of the activated neurons; None if there are none
        or they are boolean already.
    """

    path: str
    shape: tuple[int, ...]
    neurons: int = 0
    dilations: int = 0
    erosions: int = 0
    ranks: int = 0
    copies: int = 0
    constant: int = 0
    complements: int = 0
    activated: int | None = None
    mean_footprint: float | None = None
    bits: int = 0
    dead_zone: tuple[float, float] | None = None

    def cells(self) -> tuple[str, ...]:
        """The row of the table; what does not apply is empty."""
        of_neurons: tuple[str, ...] = ("",) * 7
        if self.neurons:
            operators = self.dilations, self.erosions, self.ranks, self.copies, self.constant
            counts = self.neurons, *operators, self.complements
            of_neurons = tuple(f"{count:,}" for count in counts)
        return (
            self.path,
            " x ".join(map(str, self.shape)),
            *of_neurons,
            "" if self.activated is None else f"{self.activated:,}",
            "" if self.mean_footprint is None else f"{self.mean_footprint:.1f}",
            f"{self.bits:,}",
            "" if self.dead_zone is None else "({:.3g}, {:.3g})".format(*self.dead_zone),
        )


@dataclass(frozen=True)
class Summary:
    """The result of `summary`: print it, or leave it as the last line of a notebook's cell.

    Attributes:
      layers: one `LayerSummary` per set of neurons or of other parameters, in order of the tree.
    """

    layers: tuple[LayerSummary, ...]

    @property
    def total(self) -> LayerSummary:
        """The sums over all layers; the mean footprint is over all neurons."""
        neurons = sum(layer.neurons for layer in self.layers)
        activated = [layer.activated for layer in self.layers if layer.activated is not None]
        pixels = sum(layer.neurons * (layer.mean_footprint or 0.0) for layer in self.layers)
        return LayerSummary(
            path="total",
            shape=(),
            neurons=neurons,
            dilations=sum(layer.dilations for layer in self.layers),
            erosions=sum(layer.erosions for layer in self.layers),
            ranks=sum(layer.ranks for layer in self.layers),
            copies=sum(layer.copies for layer in self.layers),
            constant=sum(layer.constant for layer in self.layers),
            complements=sum(layer.complements for layer in self.layers),
            activated=sum(activated) if activated else None,
            mean_footprint=pixels / neurons if neurons else None,
            bits=sum(layer.bits for layer in self.layers),
        )

    def _columns(self) -> list[tuple[str, ...]]:
        """Title and cells of each column; those that say nothing are left out."""
        rows = [layer.cells() for layer in (*self.layers, self.total)]
        return [
            column
            for column in zip(_TITLES, *rows, strict=True)
            # That no neuron is activated is worth saying.
            if any(cell not in ("", "0") for cell in column[1:])
            or (column[0] == "activated" and any(column[1:]))
        ]

    def __str__(self) -> str:
        """The table as text."""
        columns = self._columns()
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            for cells in zip(*columns, strict=True)
        ]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """The same as an HTML table."""

        def line(tag: str, cells: Sequence[str]) -> str:
            return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

        titles, *cells = zip(*self._columns(), strict=True)
        rows = [f"<tr>{line('td', row)}</tr>" for row in cells]
        head = f"<thead><tr>{line('th', titles)}</tr></thead>"
        body, foot = "".join(rows[:-1]), rows[-1]
        return f"<table>{head}<tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"


def _of_neurons(
    path: str, shape: tuple[int, ...], binary: BinaryNeurons, proof: LayerCertificate | None
) -> LayerSummary:
    rank, size = np.asarray(binary.ranks), np.asarray(binary.sizes)
    is_constant = (rank < 1) | (rank > size)
    is_proper = ~is_constant & (size > 1)
    inputs = binary.footprint.size // max(size.size, 1)
    # A bit tells a dilation from an erosion.
    rank_bits = inputs.bit_length() if isinstance(binary, RankNeurons) else 1
    return LayerSummary(
        path=path,
        shape=shape,
        neurons=size.size,
        dilations=int((is_proper & (rank == 1)).sum()),
        erosions=int((is_proper & (rank == size)).sum()),
        ranks=int(((rank > 1) & (rank < size)).sum()),
        copies=int((~is_constant & (size == 1)).sum()),
        constant=int(is_constant.sum()),
        complements=int(np.asarray(binary.complement).sum()),
        activated=None if proof is None else int(proof.is_exact["real"].sum()),
        mean_footprint=float(size.mean()) if size.size else None,
        # The complement is one more bit.
        bits=binary.footprint.size + (rank_bits + 1) * size.size,
        dead_zone=None if proof is None else proof.worst_zone(),
    )


def _of_other(path: str, node: Any) -> LayerSummary:
    arrays = jax.tree.leaves(node)
    elements = sum(a.size for a in arrays)
    is_boolean = arrays[0].dtype == bool
    # A latent of a ternary head becomes two bits.
    bits = 1 if is_boolean else 2 if is_ternary(node) else 32
    return LayerSummary(path=path, shape=tuple(arrays[0].shape), bits=bits * elements)


def summary(
    params: Any, architecture: Architecture | None = None, *, method: str = "activable"
) -> Summary:
    """What each layer of a network consists of: shapes, operators, sizes, bits, dead zones.

    Args:
      params: a parameter tree, real-valued or boolean, concrete.
      architecture: ``model.architecture``; with it, activation and dead zones are those of the
        smooth network, carried from layer to layer, without it those on binary inputs: the two
        strengths of `bimonn_jax.certify`.
      method: how neurons that are not activated are binarized, see `bimonn_jax.binarize`.

    Returns:
      A `Summary`, which prints as a table.

    Raises:
      TypeError: if the tree holds no neurons.
      ValueError: see `bimonn_jax.binarize`.

    Examples:
      >>> import jax.numpy as jnp
      >>> weight, one = jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0])
      >>> neurons = RealNeurons(weight, bias=one, scale=one)
      >>> print(summary({"bise": neurons}))
      layer  weights  neurons  dilations  activated  mean footprint  bits       dead zone
      bise     3 x 1        1          1          1             2.0     5  (0.269, 0.881)
      total                 1          1          1             2.0     5
    """
    neurons = named_neurons(params)
    if not neurons:
        raise TypeError("summary takes a tree with neurons among its nodes")
    boolean = named_neurons(binarize(params, method=method))
    proofs: dict[str, LayerCertificate] = {}
    if any(isinstance(n, RealNeurons) for n in neurons.values()):
        proofs = {proof.path: proof for proof in certify(params, architecture).layers}
    layers = []
    leaves = jax.tree_util.tree_leaves_with_path(
        params, is_leaf=lambda node: is_neurons(node) or is_ternary(node)
    )
    for keys, node in leaves:
        path = jax.tree_util.keystr(keys, simple=True, separator="/") or "neurons"
        if path in neurons:
            shape = tuple(weights_of(node).shape)
            found = boolean[path]
            assert not isinstance(found, RealNeurons)
            layers.append(_of_neurons(path, shape, found, proofs.get(path)))
        else:
            layers.append(_of_other(path, node))
    return Summary(tuple(layers))

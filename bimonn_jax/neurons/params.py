"""The kinds of neuron parameters.

A set of neurons is one immutable pytree: `RealNeurons` (trained), or what they are binarized to,
`BooleanNeurons` (dilations and erosions, bool arrays only) or `RankNeurons` (what lies between the
two). In all of them the trailing axes of the weights index the neurons and the leading ones the
inputs of a neuron: weights (footprint..., neurons...), other fields (neurons...). Passes over
binary neurons see one form, "at least ``ranks`` of the footprint", which both kinds have.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.pytrees import Replaceable, pytree, static
from bimonn_jax.neurons.reparam import BIASES, WEIGHTS, check_names, dual_total

Result = TypeVar("Result")


@pytree
class RealNeurons(Replaceable):
    """Free parameters of BiSE neurons, y = xi(p (conv(x, W(omega)) - B(beta))).

    Attributes:
      weight: omega, float (footprint..., neurons...).
      bias: beta, float (neurons...); the threshold that is *subtracted*.
      scale: p, float (neurons...), not 0; a negative one complements the output.
      weight_reparam: name of W(omega) in `bimonn_jax.neurons.WEIGHTS` (static).
      bias_reparam: name of B(beta) in `bimonn_jax.neurons.BIASES` (static).
      threshold: name of xi in `bimonn_jax.neurons.THRESHOLDS` (static).
    """

    weight: jax.Array
    bias: jax.Array
    scale: jax.Array
    weight_reparam: str = static(default="identity")
    bias_reparam: str = static(default="identity")
    threshold: str = static(default="tanh")


class _Footprints(Replaceable):
    """What both kinds of binary neurons have."""

    footprint: jax.Array
    complement: jax.Array

    @property
    def sizes(self) -> jax.Array:
        """How many inputs each neuron reads, int32 (neurons...)."""
        flat = flat_weight(jnp.asarray(self.footprint), self.complement)
        return jnp.sum(flat, axis=0, dtype=jnp.int32)


@pytree
class BooleanNeurons(_Footprints):
    """Boolean neurons: dilation or erosion by a footprint, complemented or not.

    Attributes:
      footprint: bool (footprint..., neurons...).
      is_erosion: bool (neurons...); an erosion where True, else a dilation.
      complement: bool (neurons...); whether the output is complemented.
    """

    footprint: jax.Array
    is_erosion: jax.Array
    complement: jax.Array

    @property
    def ranks(self) -> jax.Array:
        """How many of these must be set, int32 (neurons...): 1 of dilations, all of erosions."""
        return jnp.where(self.is_erosion, self.sizes, 1)


@pytree
class RankNeurons(_Footprints):
    """Rank neurons: whether at least ``rank`` inputs of a footprint are set, complemented or not.

    The dilation (rank 1) and the erosion (rank |S|) are the ends of these rank-order filters; the
    median of an odd number is the middle, rank (|S| + 1) / 2. A rank <= 0 is the constant 1, one >
    |S| the constant 0. Each is the union of the erosions by all subsets of ``rank`` inputs.

    Attributes:
      footprint: bool (footprint..., neurons...).
      rank: int32 (neurons...).
      complement: bool (neurons...); whether the output is complemented.
    """

    footprint: jax.Array
    rank: jax.Array
    complement: jax.Array

    @property
    def ranks(self) -> jax.Array:
        """``rank``, as every set of binary neurons has it."""
        return self.rank


BinaryNeurons = BooleanNeurons | RankNeurons
Neurons = RealNeurons | BooleanNeurons | RankNeurons


def with_ranks(neurons: BinaryNeurons) -> RankNeurons:
    """The same neurons, written with a rank for each."""
    return RankNeurons(neurons.footprint, neurons.ranks, neurons.complement)


def without_ranks(neurons: BinaryNeurons) -> BinaryNeurons:
    """The same neurons as dilations and erosions, bool arrays only, where they all are.

    Constants are empty footprints then. Where a rank lies between the ends, and under a trace, the
    neurons come back as they are.
    """
    if isinstance(neurons, BooleanNeurons) or isinstance(neurons.rank, jax.core.Tracer):
        return neurons
    footprint, rank = np.asarray(neurons.footprint), np.asarray(neurons.rank)
    inputs = tuple(range(footprint.ndim - rank.ndim))
    size = footprint.sum(axis=inputs)
    if ((rank > 1) & (rank < size)).any():
        return neurons
    is_erosion = np.where((rank < 1) | (rank > size), rank < 1, (rank == size) & (size > 1))
    footprint = footprint & (rank >= 1) & (rank <= size)
    footprint, is_erosion = jax.device_put((footprint, is_erosion))
    return BooleanNeurons(footprint, is_erosion, neurons.complement)


def is_neurons(node: object) -> bool:
    """Whether a node of a parameter tree is a set of neurons: an ``is_leaf`` for `jax.tree`."""
    return isinstance(node, Neurons)


def map_neurons(fn: Callable[[Neurons], Any], tree: Any) -> Any:
    """Applies ``fn`` to each set of neurons of a tree; other leaves stay as they are."""
    return jax.tree.map(lambda n: fn(n) if is_neurons(n) else n, tree, is_leaf=is_neurons)


def _path_name(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/") or "neurons"


def map_named_neurons(fn: Callable[[str, Neurons], Any], tree: Any) -> Any:
    """Like `map_neurons`, with the path of each set of neurons as the first argument."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, n: fn(_path_name(keys), n) if is_neurons(n) else n, tree, is_leaf=is_neurons
    )


def named_neurons(tree: Any) -> dict[str, Neurons]:
    """The sets of neurons of a parameter tree by path, such as "layers_0/bise".

    Raises:
      ValueError: if two of them have one path, as {"a": {"b": n}} and {"a/b": n}.
    """
    named: dict[str, Neurons] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_neurons):
        path = _path_name(keys)
        if is_neurons(leaf):
            if path in named:
                raise ValueError(f"two sets of neurons are at {path!r}: give one another name")
            named[path] = leaf
    return named


def static_names(tree: Any) -> dict[str, dict[str, str]]:
    """The static names of each `RealNeurons` of a tree, by path: what array files do not hold."""
    return {
        path: {
            "weight_reparam": n.weight_reparam,
            "bias_reparam": n.bias_reparam,
            "threshold": n.threshold,
        }
        for path, n in named_neurons(tree).items()
        if isinstance(n, RealNeurons)
    }


def flat_weight(weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Reshapes weights (footprint..., neurons...) to (n, neurons...).

    Raises:
      ValueError: if the trailing axes of ``weight`` are not the shape of ``bias``.
    """
    trailing = weight.shape[weight.ndim - bias.ndim :]
    if weight.ndim <= bias.ndim or trailing != bias.shape:
        raise ValueError(
            f"weight has shape {weight.shape} and bias {bias.shape}: the last axes of weight must "
            "be the shape of bias, after at least one axis of inputs (map a batch of parameters "
            "with jax.vmap)"
        )
    inputs = weight.shape[: weight.ndim - bias.ndim]
    return weight.reshape(math.prod(inputs), *bias.shape)


def halves_first(weight: jax.Array, neuron_rank: int) -> jax.Array:
    """Reshapes weights (..., 2 C, neurons...) to (2 n, neurons...): of inputs, then complements.

    Raises:
      ValueError: if there are not as many weights of complements.
    """
    at = weight.ndim - neuron_rank - 1
    leading, rows, neurons = weight.shape[:at], weight.shape[at], weight.shape[at + 1 :]
    if rows % 2:
        raise ValueError(
            f"weight has shape {weight.shape}: neurons over inputs and complements have as many "
            f"rows of both; got {rows}"
        )
    halves = jnp.moveaxis(weight.reshape(*leading, 2, rows // 2, *neurons), at, 0)
    return halves.reshape(math.prod(leading) * rows, *neurons)


def halves_back(flat: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of `halves_first`, to weights of that shape."""
    at = len(shape) - flat.ndim
    halves = flat.reshape(2, *shape[:at], shape[at] // 2, *shape[at + 1 :])
    return jnp.moveaxis(halves, 0, at).reshape(shape)


def check_neurons(neurons: Neurons, weight_rank: int | None = None) -> None:
    """Raises ValueError unless the fields of a set of neurons fit together.

    Args:
      neurons: of any kind.
      weight_rank: the number of axes that the weights must have; None for any.
    """
    names = tuple(field.name for field in fields(neurons))[:3]
    weight, *others = (jnp.asarray(getattr(neurons, name)) for name in names)
    if weight_rank is not None and weight.ndim != weight_rank:
        raise ValueError(
            f"{names[0]} has shape {weight.shape}; {weight_rank} axes were expected: this is a "
            "layer of another kind"
        )
    for name, field in zip(names[1:], others, strict=True):
        if (
            field.shape != others[0].shape
            or weight.shape[weight.ndim - field.ndim :] != field.shape
        ):
            raise ValueError(
                f"{name} has shape {field.shape}, {names[0]} {weight.shape}: {name} must have the "
                f"last axes of {names[0]}, one value per neuron (map a batch of parameters with "
                "jax.vmap)"
            )
    if isinstance(neurons, RealNeurons):
        return
    for name, field in zip(names, (weight, *others), strict=True):
        dtype = jnp.int32 if name == "rank" else jnp.bool_
        if field.dtype != dtype:
            raise ValueError(
                f"{name} of binary neurons must be {jnp.dtype(dtype).name}, got {field.dtype}"
            )


def per_neuron(fn: Callable[..., Result], neuron_rank: int) -> Callable[..., Result]:
    """Vmaps a function of one neuron over the trailing ``neuron_rank`` axes of all arguments."""
    for _ in range(neuron_rank):
        fn = jax.vmap(fn, in_axes=-1, out_axes=-1)
    return fn


def real_parameters(params: RealNeurons) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(W, B, p) of the neurons: the free parameters after their reparametrizations.

    Returns:
      W float (footprint..., neurons...), B and p float (neurons...).

    Raises:
      ValueError: for an unknown name, names that do not go together, or mismatched shapes.
    """
    check_names(params.weight_reparam, params.bias_reparam, params.threshold)
    check_neurons(params)
    # As JAX takes them: NumPy would compute in its own float64.
    weight, bias, scale = (
        jnp.asarray(field, jax.dtypes.canonicalize_dtype(field.dtype))
        for field in (params.weight, params.bias, params.scale)
    )
    are_ranks = params.bias_reparam == "rank"
    omega = halves_first(weight, bias.ndim) if are_ranks else flat_weight(weight, bias)
    total = dual_total(params.threshold).astype(omega.dtype)
    to_weight, to_bias = WEIGHTS[params.weight_reparam], BIASES[params.bias_reparam]
    if are_ranks:
        W = to_weight.forward(omega, total)
        return halves_back(W, weight.shape), to_bias.forward(bias, W), scale
    rank = bias.ndim
    W = per_neuron(lambda w: to_weight.forward(w, total), rank)(omega)
    B = per_neuron(lambda b, w: to_bias.forward(b, w), rank)(bias, W)
    return W.reshape(weight.shape), B, scale


def weights_of(neurons: Neurons) -> jax.Array:
    """The array (footprint..., neurons...) of any kind."""
    return neurons.weight if isinstance(neurons, RealNeurons) else neurons.footprint


def neurons_shape(neurons: Neurons) -> tuple[int, ...]:
    """The shape (neurons...) of the fields that have a value for each neuron."""
    sign = neurons.scale if isinstance(neurons, RealNeurons) else neurons.complement
    return tuple(sign.shape)


def as_real_neurons(
    binary: BinaryNeurons, *, threshold: str = "tanh", scale: float = 32.0
) -> RealNeurons:
    """Writes binary neurons as BiSE weights: W = footprint, B = rank - 1/2, p = -+scale.

    The result is activated, and `bimonn_jax.binarize` gives the same functions back: an erosion by
    a single input as the dilation by it, constants by empty footprints, and what has no rank
    between the ends as `BooleanNeurons`. For a whole network: ``map_neurons(as_real_neurons,
    tree)``.

    Args:
      binary: the neurons.
      threshold: name of xi.
      scale: |p| > 0; the larger, the smaller the dead zones that the smooth network carries.

    Returns:
      Float32 parameters with identity reparametrizations.
    """
    if not scale > 0:
        raise ValueError(f"scale must be > 0, got {scale}: complements are taken from `binary`")
    check_names("identity", "identity", threshold)
    return RealNeurons(
        weight=binary.footprint.astype(jnp.float32),
        bias=binary.ranks.astype(jnp.float32) - 0.5,
        scale=jnp.where(binary.complement, -scale, scale).astype(jnp.float32),
        threshold=threshold,
    )

"""The two kinds of neuron parameters, and how each is applied.

A set of neurons is one immutable pytree: `RealNeurons` (trained) or `BooleanNeurons` (bool arrays
only). In both, the trailing axes of the weights index the neurons and the leading ones the
inputs of a neuron: weights (footprint..., neurons...), other fields (neurons...). Every function
here takes either kind and computes y = xi(p (W x - B)) or its boolean counterpart.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from bimonn_jax._support.promotion import with_rank
from bimonn_jax._support.pytrees import Replaceable, pytree, static
from bimonn_jax.morphology.operators import dilation
from bimonn_jax.morphology.windows import Border, Padding, pad_image
from bimonn_jax.neurons.correlation import correlate
from bimonn_jax.neurons.precision import matmul
from bimonn_jax.neurons.reparam import BIASES, WEIGHTS, check_names, dual_total
from bimonn_jax.neurons.thresholds import THRESHOLDS, step

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


@pytree
class BooleanNeurons(Replaceable):
    """Boolean neurons: dilation or erosion by a footprint, complemented or not.

    Attributes:
      footprint: bool (footprint..., neurons...).
      is_erosion: bool (neurons...); an erosion where True, else a dilation.
      complement: bool (neurons...); whether the output is complemented.
    """

    footprint: jax.Array
    is_erosion: jax.Array
    complement: jax.Array


Neurons = RealNeurons | BooleanNeurons


def is_neurons(node: object) -> bool:
    """Whether a node of a parameter tree is a set of neurons: an ``is_leaf`` for `jax.tree`."""
    return isinstance(node, RealNeurons | BooleanNeurons)


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


def check_neurons(neurons: Neurons, weight_rank: int | None = None) -> None:
    """Raises ValueError unless the fields of a set of neurons fit together.

    Args:
      neurons: of either kind.
      weight_rank: the number of axes that the weights must have; None for any.
    """
    if isinstance(neurons, RealNeurons):
        names = ("weight", "bias", "scale")
    else:
        names = ("footprint", "is_erosion", "complement")
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
    if isinstance(neurons, BooleanNeurons):
        for name, field in zip(names, (weight, *others), strict=True):
            if field.dtype != jnp.bool_:
                raise ValueError(f"{name} of boolean neurons must be bool, got {field.dtype}")


def per_neuron(fn: Callable[..., Result], neuron_rank: int) -> Callable[..., Result]:
    """Vmaps a function of one neuron over the trailing ``neuron_rank`` axes of all arguments."""
    for _ in range(neuron_rank):
        fn = jax.vmap(fn, in_axes=-1, out_axes=-1)
    return fn


def real_parameters(params: RealNeurons) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(W, B, p) of the neurons: the free parameters after their reparametrisations.

    Returns:
      W float (footprint..., neurons...), B and p float (neurons...).

    Raises:
      ValueError: for an unknown name, names that do not go together, or mismatched shapes.
    """
    check_names(params.weight_reparam, params.bias_reparam, params.threshold)
    check_neurons(params)
    omega = flat_weight(params.weight, params.bias)
    total = dual_total(params.threshold).astype(omega.dtype)
    to_weight, to_bias = WEIGHTS[params.weight_reparam], BIASES[params.bias_reparam]
    rank = params.bias.ndim
    W = per_neuron(lambda w: to_weight.forward(w, total), rank)(omega)
    B = per_neuron(lambda b, w: to_bias.forward(b, w), rank)(params.bias, W)
    return W.reshape(params.weight.shape), B, params.scale


def real_input(params: RealNeurons, x: jax.Array) -> jax.Array:
    """``x`` as real neurons take it, in the dtype of their weights."""
    return x.astype(params.weight.dtype)


def boolean_input(x: jax.Array) -> jax.Array:
    """``x`` as boolean neurons take it; raises ValueError unless it is bool."""
    if x.dtype != jnp.bool_:
        raise ValueError(
            f"x must be bool for a boolean network, got {x.dtype}: threshold it first (x > 0.5)"
        )
    return x


def neuron_outputs(params: RealNeurons, t: jax.Array, p: jax.Array) -> jax.Array:
    """The outputs xi(t) of neurons whose t = p (W x - B), an array to which ``p`` broadcasts."""
    if params.threshold == "step":
        # The surrogate peaks where an erosion just fires and a dilation just does not: no input of
        # the footprint violates the operator.
        is_erosion = jnp.broadcast_to((params.bias > 0.5).reshape(p.shape), t.shape)
        return step(t, p * jnp.where(is_erosion, 0.5, -0.5))
    return THRESHOLDS[params.threshold].forward(t)


def boolean_outputs(neurons: BooleanNeurons, counts: jax.Array) -> jax.Array:
    """The outputs of boolean neurons (M,) of which ``counts`` (..., M) selected inputs are set."""
    size = jnp.sum(flat_weight(neurons.footprint, neurons.is_erosion), axis=0)
    is_erosion, size, complement = (
        with_rank(values, counts.ndim)
        for values in (neurons.is_erosion, size.astype(counts.dtype), neurons.complement)
    )
    return jnp.where(is_erosion, counts == size, counts > 0) ^ complement


def weights_of(neurons: Neurons) -> jax.Array:
    """The array (footprint..., neurons...) of either kind."""
    return neurons.weight if isinstance(neurons, RealNeurons) else neurons.footprint


def check_trailing(x: jax.Array, expected: tuple[int, ...], axes: str) -> None:
    """Raises ValueError unless the last axes of ``x``, called ``axes``, are as expected."""
    if x.ndim < len(expected) or x.shape[x.ndim - len(expected) :] != expected:
        raise ValueError(
            f"x has shape {x.shape}; (..., {axes}) with {axes} = "
            f"{', '.join(map(str, expected))} was expected by these neurons"
        )


def apply_conv(
    neurons: Neurons, x: jax.Array, *, padding: Padding = "SAME", border: Border = "zero"
) -> jax.Array:
    """Each neuron slides over its own input channel (cross-correlation, see `windows`).

    Args:
      neurons: weights (kh, kw, C, M): M neurons for each of C channels.
      x: (..., H, W, C); float or bool for `RealNeurons`, bool for `BooleanNeurons`.
      padding: "SAME", "VALID", ints or pairs.
      border: "zero", "edge", "reflect" or "wrap".

    Returns:
      (..., H', W', C, M); bool for `BooleanNeurons`, else the dtype of the weights.

    Raises:
      ValueError: if the channels differ, the dtype is wrong, or the kernel does not fit.
    """
    x = jnp.asarray(x)
    check_neurons(neurons, weight_rank=4)
    kh, kw, channels, _ = weights_of(neurons).shape
    check_trailing(x, (channels,), "channels")
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; (..., height, width, channels) was expected")
    x = real_input(neurons, x) if isinstance(neurons, RealNeurons) else boolean_input(x)
    # Channels go first: pixels of one row stay adjacent, which is what a CPU vectorises.
    batch = math.prod(x.shape[:-3])
    images = jnp.moveaxis(x.reshape(batch, *x.shape[-3:]), -1, 0)
    images = pad_image(images, (kh, kw), padding=padding, border=border)
    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        B, p = B[..., None, None, None], p[..., None, None, None]
        maps = neuron_outputs(neurons, p * (correlate(images, W) - B), p)
    else:
        over_outputs = jax.vmap(_boolean_correlation, in_axes=(None, -1, -1, -1))
        maps = jax.vmap(over_outputs, in_axes=(0, -2, -2, -2))(
            images, neurons.footprint, neurons.is_erosion, neurons.complement
        )
    maps = maps.transpose(2, 3, 4, 0, 1)
    return maps.reshape(*x.shape[:-3], *maps.shape[1:])


def _boolean_correlation(
    image: jax.Array, footprint: jax.Array, is_erosion: jax.Array, complement: jax.Array
) -> jax.Array:
    # Duality: an erosion is the complement of the dilation of the complement.
    hits = dilation(image ^ is_erosion, footprint, padding="VALID")
    return hits ^ is_erosion ^ complement


def apply_dense(neurons: Neurons, x: jax.Array) -> jax.Array:
    """Each neuron reads all inputs: a dilation or an erosion over the last axis.

    Args:
      neurons: weights (n, M).
      x: (..., n); float or bool for `RealNeurons`, bool for `BooleanNeurons`.

    Returns:
      (..., M); bool for `BooleanNeurons`, else the dtype of the weights.

    Raises:
      ValueError: if the inputs are not n, or the dtype is wrong.
    """
    check_neurons(neurons, weight_rank=2)
    return apply_products(neurons, x, weights_of(neurons).shape[0], matmul)


def apply_products(
    neurons: Neurons,
    x: jax.Array,
    inputs: int,
    products: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """Neurons over the last axis of x, of that many inputs; ``products(x, W)`` are their sums."""
    x = jnp.asarray(x)
    check_trailing(x, (inputs,), "inputs")
    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        sums = products(real_input(neurons, x), W)
        B, p = with_rank(B, sums.ndim), with_rank(p, sums.ndim)
        return neuron_outputs(neurons, p * (sums - B), p)
    # Counts of set bits; sums of 0s and 1s are exact in float32 up to 2^24 inputs.
    footprint = neurons.footprint.astype(jnp.float32)
    return boolean_outputs(neurons, products(boolean_input(x).astype(jnp.float32), footprint))


def apply_aligned(neurons: Neurons, x: jax.Array) -> jax.Array:
    """Neuron m reads column m of its input: the unions and intersections inside a BiSEL.

    Args:
      neurons: weights (n, M).
      x: (..., n, M); float or bool for `RealNeurons`, bool for `BooleanNeurons`.

    Returns:
      (..., M); bool for `BooleanNeurons`, else the dtype of the weights.

    Raises:
      ValueError: if the last two axes of ``x`` are not (n, M), or the dtype is wrong.
    """
    x = jnp.asarray(x)
    check_neurons(neurons, weight_rank=2)
    check_trailing(x, weights_of(neurons).shape, "inputs, neurons")
    if isinstance(neurons, RealNeurons):
        W, B, p = real_parameters(neurons)
        sums = jnp.sum(real_input(neurons, x) * with_rank(W, x.ndim), axis=-2)
        B, p = with_rank(B, sums.ndim), with_rank(p, sums.ndim)
        return neuron_outputs(neurons, p * (sums - B), p)
    is_erosion = with_rank(neurons.is_erosion, x.ndim)
    hits = jnp.any((boolean_input(x) ^ is_erosion) & with_rank(neurons.footprint, x.ndim), axis=-2)
    return hits ^ is_erosion[..., 0, :] ^ with_rank(neurons.complement, hits.ndim)


def as_real_neurons(
    boolean: BooleanNeurons, *, threshold: str = "tanh", scale: float = 32.0
) -> RealNeurons:
    """Writes boolean neurons as BiSE weights: W = footprint, B = 1/2 or |S| - 1/2, p = -+scale.

    The result is activated and `bimonn_jax.binarize` gives ``boolean`` back, except that an erosion
    by a single input comes back as the dilation by it, which is the same. For a whole network:
    ``map_neurons(as_real_neurons, tree)``.

    Args:
      boolean: the neurons.
      threshold: name of xi.
      scale: |p| > 0; the larger, the smaller the dead zones that the smooth network carries.

    Returns:
      Float32 parameters with identity reparametrisations.
    """
    if not scale > 0:
        raise ValueError(f"scale must be > 0, got {scale}: complements are taken from `boolean`")
    check_names("identity", "identity", threshold)
    weight = boolean.footprint.astype(jnp.float32)
    size = jnp.sum(flat_weight(weight, boolean.is_erosion), axis=0)
    return RealNeurons(
        weight=weight,
        bias=jnp.where(boolean.is_erosion, size - 0.5, 0.5),
        scale=jnp.where(boolean.complement, -scale, scale).astype(jnp.float32),
        threshold=threshold,
    )

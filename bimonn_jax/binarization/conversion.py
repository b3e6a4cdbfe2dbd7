"""From trained parameters to a boolean network (arXiv 2401.03830, section 5).

An activated neuron becomes its operator without loss; one that is not becomes the operator that a
projection finds nearby. Only the parameters are needed: the same tree comes back with each
`RealNeurons` replaced by a `BooleanNeurons`, and ``model.apply({"params": boolean}, x)`` runs it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.binarization.approximation import METHODS, Nearest, nearest_of_all
from bimonn_jax.binarization.decision import Decision, decide_all
from bimonn_jax.binarization.projection.constant import PROJECTIONS
from bimonn_jax.neurons.heads import TernaryLatents, binarize_heads, is_ternary
from bimonn_jax.neurons.params import (
    BinaryNeurons,
    BooleanNeurons,
    Neurons,
    RankNeurons,
    RealNeurons,
    map_named_neurons,
    named_neurons,
    without_ranks,
)
from bimonn_jax.neurons.reparam import BINARY

# The dtypes that real-valued neurons may have.
DTYPES = ("float16", "bfloat16", "float32", "float64")


@pytree
class _Binarized:
    """Binary neurons; which were activated, bool (neurons...); squared distances, 0 for those."""

    binary: BinaryNeurons
    is_exact: jax.Array
    squared_distance: jax.Array


def _binarize_all(
    params: Mapping[str, RealNeurons],
    method: str,
    *,
    ranks: bool,
    input_mean: Mapping[str, jax.Array] | None,
) -> dict[str, _Binarized]:
    """All sets of neurons of a tree, by path."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {sorted(METHODS)}; got {method!r}")
    decisions = decide_all(params)
    # Neurons that were trained through the binarization are activated by construction.
    open_sets = [path for path, neurons in params.items() if neurons.weight_reparam not in BINARY]
    means = _means(params, open_sets, method, input_mean, ranks=ranks)
    nearest = nearest_of_all(
        [decisions[path] for path in open_sets], method, ranks=ranks, input_means=means
    )
    by_path = dict(zip(open_sets, nearest, strict=True))
    return {
        path: _exact_or_nearest(params[path], decision, by_path.get(path), ranks=ranks)
        for path, decision in decisions.items()
    }


def _means(
    params: Mapping[str, RealNeurons],
    paths: list[str],
    method: str,
    input_mean: Mapping[str, jax.Array] | None,
    *,
    ranks: bool,
) -> list[jax.Array | None]:
    """The means of the inputs of each of some sets, float (n, neurons...), or None for all."""
    if input_mean is None:
        return [None] * len(paths)
    if method not in PROJECTIONS or not ranks:
        raise ValueError(
            f"input_mean moves the ranks that the methods {sorted(PROJECTIONS)} give; method "
            f"{method!r} with ranks={ranks} takes none"
        )
    if missing := [path for path in paths if path not in input_mean]:
        raise ValueError(
            f"input_mean has no means for {missing}: it needs one array for each set of neurons, "
            "see bimonn_jax.binarization.input_means"
        )
    found: list[jax.Array | None] = []
    for path in paths:
        weight, bias = params[path].weight, params[path].bias
        mean = jnp.broadcast_to(jnp.asarray(input_mean[path]), weight.shape)
        found.append(mean.reshape(-1, *bias.shape))
    return found


def _exact_or_nearest(
    params: RealNeurons, decision: Decision, nearest: Nearest | None, *, ranks: bool
) -> _Binarized:
    exact, is_exact = decision.activation, decision.is_exact(ranks=ranks)
    # Not 0 times the bias, which may be -0.
    footprint, rank, distance = exact.footprint, exact.rank, decision.B - decision.B
    if nearest is not None:
        xp = np if isinstance(decision.B, np.ndarray) else jnp
        footprint, rank, distance = (
            xp.where(is_exact, mine, other)
            for mine, other in zip((footprint, rank, distance), nearest, strict=True)
        )
    size = footprint.sum(axis=0, dtype=np.int32)
    footprint = footprint.reshape(params.weight.shape)
    binary: BinaryNeurons
    # Known without the values of the arrays, as tracing asks: what was trained as boolean is.
    if not ranks or params.bias_reparam == "boolean":
        is_erosion = (rank == size) & (size != 1)
        binary = BooleanNeurons(footprint, is_erosion, decision.is_negative)
    else:
        binary = without_ranks(RankNeurons(footprint, rank, decision.is_negative))
    found: _Binarized = _Binarized(binary, is_exact, distance)
    # Not by jnp.asarray, which compiles a program for every shape. Distances that no number of the
    # dtype can hold are infinite.
    with np.errstate(over="ignore"):
        found = jax.tree.map(lambda v: v if isinstance(v, jax.Array) else jax.device_put(v), found)
    return found


def checked_parameters(params: Any) -> Any:
    """The tree with its real-valued neurons as JAX arrays, as which they run.

    Of traced arrays there are no values to look at yet; the others are checked.

    Raises:
      TypeError: if the tree holds neither neurons nor a ternary head, or a field of neurons is of
        another dtype than `DTYPES`.
      ValueError: where values are not finite, or a scale is 0.
    """
    named = named_neurons(params)
    heads = [node for node in jax.tree.leaves(params, is_leaf=is_ternary) if is_ternary(node)]
    if not named and not heads:
        raise TypeError(
            "params holds no neurons: RealNeurons, BooleanNeurons or a ternary head, as model.init "
            f"returns them, were looked for; {_what_it_is(params)}"
        )
    for head in heads:
        if isinstance(head, TernaryLatents):
            _check_finite("latent of a ternary head", _as_it_runs(head.latent))
    return map_named_neurons(_checked, params)


def _what_it_is(params: Any) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = {jax.tree_util.keystr(path[-1:], simple=True) for path, _ in leaves}
    if {"weight", "bias", "scale"} <= names:
        return (
            "these are plain dictionaries, as of a checkpoint that was restored without a target: "
            "restore it into a tree of model.init"
        )
    return f"its arrays are called {', '.join(sorted(names))}" if names else "it holds no arrays"


def _checked(path: str, neurons: Neurons) -> Neurons:
    if not isinstance(neurons, RealNeurons):
        return neurons
    fields = {}
    for name in ("weight", "bias", "scale"):
        given = getattr(neurons, name)
        if str(given.dtype) not in DTYPES:
            raise TypeError(f"{path}.{name} is {given.dtype}; one of {DTYPES} was expected")
        fields[name] = _as_it_runs(given)
        _check_finite(f"{path}.{name}", fields[name])
    if 0 in neurons.weight.shape[: neurons.weight.ndim - neurons.bias.ndim]:
        raise ValueError(
            f"{path}.weight has shape {neurons.weight.shape}: a neuron needs at least one input"
        )
    scale = fields["scale"]
    if not isinstance(scale, jax.core.Tracer) and (zero := np.asarray(scale) == 0).any():
        raise ValueError(
            f"{path}.scale is 0 for {int(zero.sum())} neurons, whose output is 1/2 whatever they "
            "read: give them a scale other than 0"
        )
    return replace(neurons, **fields)  # type: ignore[arg-type]


def _as_it_runs(given: jax.Array | np.ndarray) -> jax.Array:
    """An array as JAX takes it: of 32 bits where it has no longer ones, wherever it comes from."""
    if isinstance(given, jax.core.Tracer):
        return given
    if isinstance(given, jax.Array) and jax.dtypes.canonicalize_dtype(given.dtype) == given.dtype:
        return given
    # What overflows is infinite, and named by whoever checks that.
    with np.errstate(over="ignore"):
        array: jax.Array = jax.device_put(np.asarray(given))
    return array


def _check_finite(name: str, values: jax.Array) -> None:
    if isinstance(values, jax.core.Tracer):
        return
    bad = ~np.isfinite(np.asarray(values))
    if bad.any():
        raise ValueError(
            f"{name} has {int(bad.sum())} values that are not finite in {values.dtype} (of "
            f"{bad.size}): train again with a smaller learning rate, or restore an earlier "
            "checkpoint"
        )


@overload
def binarize(
    params: Any,
    *,
    method: str = "activable",
    ranks: bool = True,
    input_mean: Mapping[str, jax.Array] | None = None,
    return_report: Literal[False] = False,
) -> Any: ...


@overload
def binarize(
    params: Any,
    *,
    method: str = "activable",
    ranks: bool = True,
    input_mean: Mapping[str, jax.Array] | None = None,
    return_report: Literal[True],
) -> tuple[Any, tuple["LayerReport", ...]]: ...


def binarize(
    params: Any,
    *,
    method: str = "activable",
    ranks: bool = True,
    input_mean: Mapping[str, jax.Array] | None = None,
    return_report: bool = False,
) -> Any:
    """Replaces every BiSE neuron of a parameter tree by a binary one.

    Neurons that are activated on binary inputs, as dilations, erosions or other rank operators, are
    replaced without loss, whatever the method. The test runs in float64 (under a trace in the
    precision of the weights, at least float32), whose sums are rounded too: weights of very
    different sizes may be taken for an operator that they miss by less than that.
    `bimonn_jax.certify` proves that rounding did no harm, here and where the neurons run.
    All methods but "qp" and "rank" work under `jax.jit` and `jax.vmap`; outside of these
    "activable" takes one program for neurons of all shapes, and no dilation or erosion is nearer
    than the one it finds, by however little. Within a program that holds up to rounding, see
    `bimonn_jax.project`.

    Args:
      params: a tree with `RealNeurons` among its nodes; other leaves (a real head) are kept. NumPy
        arrays are taken as JAX takes them: float64 as float32, unless x64 is on.
      method: the projection of neurons that are not activated: "activable" (nearest activable
        dilation or erosion, exact; see docs/projection.md), "qp" (the same by CVXPY and OSQP, some
        100,000 times slower), "rank" (nearest rank operator, the two ends among them, exact up to
        rounding; see `bimonn_jax.binarization.project_ranks`; a second or more for a neuron of 784
        inputs), "constant" (nearest lambda 1_S, of which every bias is a rank), "uniform" or
        "normal" (its approximations by a threshold on the weights).
      ranks: whether rank operators between dilation and erosion count. If False, only the paper's
        two operators do: neurons that are other ones are projected too, and "constant", "uniform"
        and "normal" choose the operator by the half of the weights in which the bias lies.
      input_mean: by path, the mean of each input on data, float, broadcast to the shape of the
        weights (`bimonn_jax.binarization.input_means`). "constant", "uniform" and "normal" then
        move the bias by what the weights that a neuron loses gave on average: an approximation.
      return_report: whether to say what happened to each neuron; needs concrete parameters.

    Returns:
      The same tree with binary neurons in place of `RealNeurons`, and a ternary head's weights in
      place of its latents. Sets of neurons of which each is a dilation, an erosion or constant are
      `BooleanNeurons`, bool arrays only; others, and under a trace all that might be such, are
      `RankNeurons`. With ``return_report``, (tree, reports): one `LayerReport` per set of neurons,
      in the order of the tree.

    Raises:
      TypeError: if there is nothing to binarize in the tree, as in a checkpoint restored as plain
        dictionaries, or neurons are of another dtype than float16, bfloat16, float32 or float64.
      ValueError: for an unknown method, "qp" or "rank" under a trace, "rank" without ranks, means
        that the method does not use or that are missing, or (outside of a trace) parameters that
        are not finite or a scale of 0.
      RuntimeError: if OSQP, or the projection of "rank", does not converge.

    Examples:
      >>> import jax.numpy as jnp
      >>> weight, one = jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0])
      >>> neurons = RealNeurons(weight, bias=one, scale=one)
      >>> binarize({"layer": neurons})["layer"].footprint[:, 0]
      Array([ True,  True, False], dtype=bool)
    """
    named = named_neurons(checked_parameters(params))
    real = {path: neurons for path, neurons in named.items() if isinstance(neurons, RealNeurons)}
    found = _binarize_all(real, method, ranks=ranks, input_mean=input_mean)
    tree = map_named_neurons(lambda path, n: found[path].binary if path in real else n, params)
    tree = binarize_heads(tree)
    if not return_report:
        return tree
    return tree, tuple(_report(path, each, input_mean) for path, each in found.items())


@pytree
class LayerReport:
    """What binarization did to one set of neurons.

    Attributes:
      path: where they stand in the parameter tree.
      is_exact: bool (neurons...); activated, replaced without loss, up to the rounding of float64:
        see `binarize`.
      rank: int (neurons...); how many inputs of the footprint must be set.
      is_constant: bool (neurons...); empty footprint: the output never changes.
      footprint_size: int (neurons...).
      squared_distance: float (neurons...); to what the method projects onto, 0 where exact: of the
        weights to the nearest lambda 1_S, or of weights and bias to the nearest activable neuron
        (by "activable" to a relative error of 1e-7). It may be 0 where not exact, if the dtype has
        no number so small, or infinite.
      is_moved: whether ranks of neurons that are not exact are those of biases moved by means of
        data.
    """

    path: str = static()
    is_exact: np.ndarray
    rank: np.ndarray
    is_constant: np.ndarray
    footprint_size: np.ndarray
    squared_distance: np.ndarray
    is_moved: bool = static(default=False)

    def __str__(self) -> str:
        """One line: how many neurons, of which operator, exact or approximated."""
        live = ~self.is_constant
        is_dilation = live & (self.rank == 1)
        is_erosion = live & ~is_dilation & (self.rank == self.footprint_size)
        between = int((live & ~is_dilation & ~is_erosion).sum())
        approximated = ~self.is_exact
        worst = float(self.squared_distance.max(initial=0.0))
        moved = ", biases moved by means of data" if self.is_moved and approximated.any() else ""
        return (
            f"{self.path}: {self.is_exact.size} neurons, {int(self.is_exact.sum())} exact, "
            f"{int(approximated.sum())} approximated (squared distance up to {worst:.3g}{moved}); "
            f"{int(is_dilation.sum())} dilations, {int(is_erosion.sum())} erosions, "
            + (f"{between} ranks between them, " if between else "")
            + f"{int(self.is_constant.sum())} constant"
        )


def _report(
    path: str, found: _Binarized, input_mean: Mapping[str, jax.Array] | None
) -> LayerReport:
    binary = found.binary
    size = binary.sizes
    fields = found.is_exact, binary.ranks, size == 0, size, found.squared_distance
    is_exact, rank, is_constant, footprint_size, distance = map(np.asarray, fields)
    is_moved = input_mean is not None and path in input_mean
    return LayerReport(path, is_exact, rank, is_constant, footprint_size, distance, is_moved)

"""From trained parameters to a boolean network (arXiv 2401.03830, section 5).

An activated neuron becomes its operator without loss; one that is not becomes the operator that a
projection finds nearby. Only the parameters are needed: the same tree comes back with each
`RealNeurons` replaced by a `BooleanNeurons`, and ``model.apply({"params": boolean}, x)`` runs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.binarization.projection.activable import project
from bimonn_jax.binarization.projection.constant import PROJECTIONS, squared_distance
from bimonn_jax.binarization.projection.nearest import nearest_operators, nearest_operators_traced
from bimonn_jax.neurons.activation import Activation, activation, activation_on_host
from bimonn_jax.neurons.heads import TernaryLatents, binarize_heads, is_ternary
from bimonn_jax.neurons.params import (
    BooleanNeurons,
    Neurons,
    RealNeurons,
    flat_weight,
    map_named_neurons,
    named_neurons,
    real_parameters,
)

# Every way to choose the operator of a neuron that is not activated.
METHODS = (*PROJECTIONS, "activable", "qp")
# The dtypes that real-valued neurons may have.
DTYPES = ("float16", "bfloat16", "float32", "float64")

# Footprints (n, neurons...), is_erosion and squared distances (neurons...) of projections.
# By NumPy for concrete parameters, by JAX for traced ones.
_Nearest = tuple[Any, Any, Any]


@pytree
class Decision:
    """One set of neurons before those that are not activated are projected.

    Attributes:
      W: float (n, neurons...); the weights.
      B: float (neurons...); the biases.
      is_negative: bool (neurons...); the sign of the scale, which complements the output.
      activation: which operator each neuron is, on bits.
    """

    W: Any
    B: Any
    is_negative: Any
    activation: Activation


@pytree
class _Binarized:
    """Boolean neurons; which were activated, bool (neurons...); squared distances, 0 for those."""

    boolean: BooleanNeurons
    is_exact: jax.Array
    squared_distance: jax.Array


@jax.jit
def all_real_parameters(
    params: Mapping[str, RealNeurons],
) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    """`bimonn_jax.neurons.real_parameters` of several sets of neurons, as one program."""
    return {path: real_parameters(neurons) for path, neurons in params.items()}


def decide_all(params: Mapping[str, RealNeurons]) -> dict[str, Decision]:
    """Which neurons are activated, and as what: for `binarize` and `bimonn_jax.certify` alike.

    W and B are those that run, in the dtype of the parameters. Whether they are activated is then
    decided in float64; under a trace, or for neurons that several devices hold, in that dtype, but
    at least in float32.
    """
    return {path: _decide(*fields) for path, fields in all_real_parameters(params).items()}


def _is_on_host(x: jax.Array) -> bool:
    return not isinstance(x, jax.core.Tracer) and x.sharding.num_devices == 1


def _decide(W: jax.Array, B: jax.Array, p: jax.Array) -> Decision:
    W = flat_weight(W, B)
    if _is_on_host(B):
        # Float64 holds all shorter types exactly.
        columns, biases, scales = (np.asarray(v, np.float64) for v in (W, B, p))
        found = activation_on_host(columns, biases, scales)
        return Decision(columns, biases, np.signbit(scales), found)
    dtype = jnp.promote_types(jnp.promote_types(W.dtype, B.dtype), jnp.float32)
    W, B = W.astype(dtype), B.astype(dtype)
    # By the sign bit: p < 0 fails for a subnormal p where those are flushed to zero.
    return Decision(W, B, jnp.signbit(p), activation(W, B, p.astype(B.dtype)))


def _binarize_all(params: Mapping[str, RealNeurons], method: str) -> dict[str, _Binarized]:
    """All sets of neurons of a tree, by path."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {sorted(METHODS)}; got {method!r}")
    decisions = decide_all(params)
    # Neurons that were trained through the binarization are activated by construction.
    open_sets = [path for path, neurons in params.items() if neurons.weight_reparam != "boolean"]
    nearest = _nearest_of_all([decisions[path] for path in open_sets], method)
    by_path = dict(zip(open_sets, nearest, strict=True))
    return {
        path: _exact_or_nearest(params[path], decision, by_path.get(path))
        for path, decision in decisions.items()
    }


def _exact_or_nearest(
    params: RealNeurons, decision: Decision, nearest: _Nearest | None
) -> _Binarized:
    exact = decision.activation
    footprint, is_erosion, distance = exact.footprint, exact.is_erosion, 0 * decision.B
    if nearest is not None:
        xp = np if isinstance(decision.B, np.ndarray) else jnp
        footprint, is_erosion, distance = (
            xp.where(exact.is_activated, mine, other)
            for mine, other in zip((footprint, is_erosion, distance), nearest, strict=True)
        )
    footprint = footprint.reshape(params.weight.shape)
    boolean = BooleanNeurons(footprint, is_erosion, decision.is_negative)
    found: _Binarized = _Binarized(boolean, exact.is_activated, distance)
    # Not by jnp.asarray, which compiles a program for every shape. Distances that no number of the
    # dtype can hold are infinite.
    with np.errstate(over="ignore"):
        found = jax.tree.map(lambda v: v if isinstance(v, jax.Array) else jax.device_put(v), found)
    return found


def _nearest_of_all(decisions: Sequence[Decision], method: str) -> list[_Nearest]:
    """The nearest operators of sets of neurons, by one of the projections."""
    is_on_host = all(isinstance(decision.B, np.ndarray) for decision in decisions)
    is_traced = any(isinstance(decision.B, jax.core.Tracer) for decision in decisions)
    if method == "qp" and is_traced:
        raise ValueError(
            "method 'qp' calls a solver and needs concrete parameters, not a trace of jax.jit: use "
            "method='activable', which gives the same operators"
        )
    if method == "qp" or (method == "activable" and is_on_host):
        return _nearest_of_open(decisions, method)
    if method == "activable" and is_traced:
        together = _nearest_together(decisions)
        if together is not None:
            return together
    return [_nearest(jnp.asarray(d.W), jnp.asarray(d.B), method) for d in decisions]


def _nearest_together(decisions: Sequence[Decision]) -> list[_Nearest] | None:
    """By one part of a program for all shapes, if the network is small."""
    flat = [(d.W.reshape(len(d.W), -1), d.B.reshape(-1)) for d in decisions]
    found = nearest_operators_traced(flat)
    if found is None:
        return None
    return [
        (
            footprint.reshape(d.W.shape),
            is_erosion.reshape(d.B.shape),
            distance.reshape(d.B.shape),
        )
        for d, (footprint, is_erosion, distance) in zip(decisions, found, strict=True)
    ]


def _nearest_of_open(decisions: Sequence[Decision], method: str) -> list[_Nearest]:
    """By what looks only at neurons that are not activated, outside of any trace."""
    is_open = [~np.asarray(d.activation.is_activated).reshape(-1) for d in decisions]
    sets = [
        (np.asarray(d.W).reshape(len(d.W), mine.size)[:, mine], np.asarray(d.B).reshape(-1)[mine])
        for d, mine in zip(decisions, is_open, strict=True)
    ]
    found = nearest_operators(sets) if method == "activable" else [_by_programs(*s) for s in sets]
    return [
        _at_their_places(decision, mine, operators)
        for decision, mine, operators in zip(decisions, is_open, found, strict=True)
    ]


@partial(jax.jit, static_argnames="method")
def _nearest(W: jax.Array, B: jax.Array, method: str) -> _Nearest:
    if method == "activable":
        nearest = project(W, B)
        return nearest.footprint, nearest.is_erosion, nearest.squared_distance
    footprint = PROJECTIONS[method](W)
    return footprint, jnp.sum(W, axis=0) < 2 * B, squared_distance(W, footprint)


def _by_programs(W: np.ndarray, B: np.ndarray) -> _Nearest:
    """`nearest_operators` of one set, by quadratic programs."""
    # The one import of CVXPY, which evaluation does without.
    from bimonn_jax.binarization.projection.qp import project_qp

    if not B.size:
        return np.zeros(W.shape, bool), np.zeros(0, bool), np.zeros(0)
    nearest = project_qp(W, B)
    return nearest.footprint, nearest.is_erosion, nearest.squared_distance


def _at_their_places(
    decision: Decision, is_open: np.ndarray, found: Sequence[np.ndarray]
) -> _Nearest:
    """What was found of the open neurons, (..., k) each, among all neurons; 0 for the others."""
    placed = []
    for values in found:
        full = np.zeros((*values.shape[:-1], is_open.size), values.dtype)
        full[..., is_open] = values
        placed.append(full.reshape(*values.shape[:-1], *decision.B.shape))
    footprint, is_erosion, distance = placed
    return footprint, is_erosion, distance


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
    params: Any, *, method: str = "activable", return_report: Literal[False] = False
) -> Any: ...


@overload
def binarize(
    params: Any, *, method: str = "activable", return_report: Literal[True]
) -> tuple[Any, tuple["LayerReport", ...]]: ...


def binarize(params: Any, *, method: str = "activable", return_report: bool = False) -> Any:
    """Replaces every BiSE neuron of a parameter tree by a boolean one.

    Neurons that are activated on binary inputs are replaced without loss, whatever the method. The
    test runs in the precision of the weights, at least float32; `bimonn_jax.certify` proves that
    its rounding did no harm.
    All methods but "qp" work under `jax.jit` and `jax.vmap`; outside of these "activable" takes one
    program for neurons of all shapes, and no operator is nearer than the one it finds, by however
    little. Within a program that holds up to rounding, see `bimonn_jax.project`.

    Args:
      params: a tree with `RealNeurons` among its nodes; other leaves (a real head) are kept. NumPy
        arrays are taken as JAX takes them: float64 as float32, unless x64 is on.
      method: the projection of neurons that are not activated: "activable" (nearest activable
        neuron, exact; much the best for positive weights, see BUILD_NOTES.md), "qp" (the
        same by CVXPY and OSQP, some 100,000 times slower), "constant" (nearest lambda 1_S),
        "uniform" or "normal" (its approximations by a threshold on the weights).
      return_report: whether to say what happened to each neuron; needs concrete parameters.

    Returns:
      The same tree with `BooleanNeurons` in place of `RealNeurons`, and a ternary head's weights in
      place of its latents. With ``return_report``, (tree, reports): one `LayerReport` per set of
      neurons, in the order of the tree.

    Raises:
      TypeError: if there is nothing to binarize in the tree, as in a checkpoint restored as plain
        dictionaries, or neurons are of another dtype than float16, bfloat16, float32 or float64.
      ValueError: for an unknown method, "qp" under a trace, or (outside of a trace) parameters
        that are not finite or a scale of 0.
      RuntimeError: if OSQP does not converge.

    Examples:
      >>> import jax.numpy as jnp
      >>> weight, one = jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0])
      >>> neurons = RealNeurons(weight, bias=one, scale=one)
      >>> binarize({"layer": neurons})["layer"].footprint[:, 0]
      Array([ True,  True, False], dtype=bool)
    """
    tree, binarized = _binarize(params, method)
    if not return_report:
        return tree
    return tree, tuple(_report(path, found) for path, found in binarized.items())


def _binarize(params: Any, method: str) -> tuple[Any, dict[str, _Binarized]]:
    """The boolean tree, and what became of each set of real-valued neurons, by path."""
    named = named_neurons(checked_parameters(params))
    real = {path: neurons for path, neurons in named.items() if isinstance(neurons, RealNeurons)}
    binarized = _binarize_all(real, method)
    tree = map_named_neurons(lambda path, n: binarized[path].boolean if path in real else n, params)
    return binarize_heads(tree), binarized


@pytree
class LayerReport:
    """What binarization did to one set of neurons.

    Attributes:
      path: where they stand in the parameter tree.
      is_exact: bool (neurons...); activated, replaced without loss.
      is_erosion: bool (neurons...).
      is_constant: bool (neurons...); empty footprint: the output never changes.
      footprint_size: int (neurons...).
      squared_distance: float (neurons...); to what the method projects onto, 0 where exact: of the
        weights to the nearest lambda 1_S, or of weights and bias to the nearest activable neuron
        (by "activable" to a relative error of 1e-7). It may be 0 where not exact, if the dtype has
        no number so small, or infinite.
    """

    path: str = static()
    is_exact: np.ndarray
    is_erosion: np.ndarray
    is_constant: np.ndarray
    footprint_size: np.ndarray
    squared_distance: np.ndarray

    def __str__(self) -> str:
        """One line: how many neurons, of which operator, exact or approximated."""
        live = ~self.is_constant
        approximated = ~self.is_exact
        worst = float(self.squared_distance.max(initial=0.0))
        return (
            f"{self.path}: {self.is_exact.size} neurons, {int(self.is_exact.sum())} exact, "
            f"{int(approximated.sum())} approximated (squared distance up to {worst:.3g}); "
            f"{int((live & ~self.is_erosion).sum())} dilations, "
            f"{int((live & self.is_erosion).sum())} erosions, "
            f"{int(self.is_constant.sum())} constant"
        )


def _report(path: str, found: _Binarized) -> LayerReport:
    boolean = found.boolean
    size = boolean.sizes
    fields = found.is_exact, boolean.is_erosion, size == 0, size, found.squared_distance
    return LayerReport(path, *(np.asarray(field) for field in fields))

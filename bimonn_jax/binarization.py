"""From trained parameters to a boolean network (arXiv 2401.03830, section 5).

An activated neuron becomes its operator without loss; one that is not becomes the operator that a
projection finds nearby. Only the parameters are needed: the same tree comes back with each
`BiSEParams` replaced by a `BooleanBiSE`, and ``model.apply({"params": boolean}, x)`` runs it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bimonn_jax.activation import Activation, activation
from bimonn_jax.heads import binarize_heads
from bimonn_jax.params import (
    BiSEParams,
    BooleanBiSE,
    Neurons,
    flat_weight,
    map_neurons,
    named_neurons,
    real_parameters,
)
from bimonn_jax.projection.activable import project
from bimonn_jax.projection.constant import PROJECTIONS, squared_distance

# Every way to choose the operator of a neuron that is not activated.
METHODS = (*PROJECTIONS, "activable", "qp")


def binarize_neurons(params: BiSEParams, *, method: str = "constant") -> BooleanBiSE:
    """Binarises one set of neurons; see `binarize`."""
    return _binarize_with_distance(params, method)[0]


def _binarize_with_distance(
    params: BiSEParams, method: str
) -> tuple[BooleanBiSE, Activation, jax.Array]:
    """Returns the boolean neurons, the activation test and the squared distances (0 if exact)."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {sorted(METHODS)}; got {method!r}")
    W, B, p, exact = _activation_of(params)
    flat = flat_weight(W, B)
    if params.weight_reparam == "boolean":
        # Activated by construction: nothing to search for.
        nearest = exact.footprint.reshape(flat.shape), exact.is_erosion, jnp.zeros_like(B)
    elif method == "qp":
        nearest = _nearest_by_programs(flat, B, exact.is_activated)
    else:
        nearest = _nearest(flat, B, method)
    chosen: tuple[BooleanBiSE, Activation, jax.Array] = _exact_or_nearest(W, p, exact, *nearest)
    return chosen


@jax.jit
def _activation_of(params: BiSEParams) -> tuple[jax.Array, jax.Array, jax.Array, Activation]:
    W, B, p = real_parameters(params)
    return W, B, p, activation(W, B, p)


@jax.jit
def _exact_or_nearest(
    W: jax.Array,
    p: jax.Array,
    exact: Activation,
    footprint: jax.Array,
    is_erosion: jax.Array,
    distance: jax.Array,
) -> tuple[BooleanBiSE, Activation, jax.Array]:
    boolean = BooleanBiSE(
        jnp.where(exact.is_activated, exact.footprint, footprint).reshape(W.shape),
        jnp.where(exact.is_activated, exact.is_erosion, is_erosion),
        p < 0,
    )
    return boolean, exact, jnp.where(exact.is_activated, 0, distance)


@partial(jax.jit, static_argnames="method")
def _nearest(W: jax.Array, B: jax.Array, method: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Footprints (n, neurons...), is_erosion and squared distances of the projections."""
    if method == "activable":
        nearest = project(W, B)
        return nearest.footprint, nearest.is_erosion, nearest.squared_distance
    footprint = PROJECTIONS[method](W)
    return footprint, jnp.sum(W, axis=0) < 2 * B, squared_distance(W, footprint)


def _nearest_by_programs(
    W: jax.Array, B: jax.Array, is_activated: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`_nearest` by quadratic programs, for the neurons that need one."""
    if isinstance(W, jax.core.Tracer):
        raise ValueError(
            "method 'qp' calls a solver and needs concrete parameters, not a trace of jax.jit: use "
            "method='activable', which gives the same operators"
        )
    # The one import of CVXPY, which evaluation does without.
    from bimonn_jax.projection.qp import project_qp

    columns, biases = np.array(W.reshape(W.shape[0], -1)), np.array(B.reshape(-1))
    todo = ~np.asarray(is_activated).reshape(-1)
    footprint = np.zeros(columns.shape, bool)
    is_erosion, distance = np.zeros(biases.shape, bool), np.zeros(biases.shape, columns.dtype)
    if todo.any():
        nearest = project_qp(columns[:, todo], biases[todo])
        footprint[:, todo] = nearest.footprint
        is_erosion[todo], distance[todo] = nearest.is_erosion, nearest.squared_distance
    return (
        jnp.asarray(footprint.reshape(W.shape)),
        jnp.asarray(is_erosion.reshape(B.shape)),
        jnp.asarray(distance.reshape(B.shape)),
    )


def check_finite(params: Any) -> None:
    """Raises ValueError where a concrete parameter tree holds NaN, infinities or a zero scale.

    Traced arrays pass: under `jax.jit` there is nothing to look at yet.
    """
    for path, neurons in named_neurons(params).items():
        if not isinstance(neurons, BiSEParams):
            continue
        for field in ("weight", "bias", "scale"):
            values = getattr(neurons, field)
            if isinstance(values, jax.core.Tracer):
                return
            bad = ~np.isfinite(values)
            if bad.any():
                raise ValueError(
                    f"{path}.{field} has {int(bad.sum())} values that are not finite (of "
                    f"{bad.size}): train again with a smaller learning rate, or restore an earlier "
                    "checkpoint"
                )
        if np.any(np.asarray(neurons.scale) == 0):
            raise ValueError(
                f"{path}.scale is 0 for {int(np.sum(np.asarray(neurons.scale) == 0))} neurons, "
                "whose output is 1/2 whatever they read: give them a scale other than 0"
            )


def binarize(params: Any, *, method: str = "constant") -> Any:
    """Replaces every BiSE neuron of a parameter tree by a boolean one.

    Neurons that are activated on binary inputs are replaced without loss, whatever the method. The
    test runs in the precision of the weights; `bimonn_jax.certify` proves that its rounding did
    no harm.
    All methods but "qp" work under `jax.jit` and `jax.vmap`.

    Args:
      params: a tree with `BiSEParams` among its nodes; other leaves (a real head) are kept.
      method: the projection of neurons that are not activated: "activable" (nearest activable
        neuron, exact; much the best for positive weights, see BUILD_NOTES.md), "qp" (the
        same by CVXPY and OSQP, some 100,000 times slower), "constant" (nearest lambda 1_S),
        "uniform" or "normal" (its approximations by a threshold on the weights).

    Returns:
      The same tree with `BooleanBiSE` in place of `BiSEParams`, and a ternary head's weights in
      place of its latents.

    Raises:
      ValueError: for an unknown method, "qp" under a trace, or (outside of a trace) parameters
        that are not finite or a scale of 0.
      RuntimeError: if OSQP does not converge.

    Examples:
      >>> import jax.numpy as jnp
      >>> neurons = BiSEParams(jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0]), jnp.array([1.0]))
      >>> binarize({"layer": neurons})["layer"].footprint[:, 0]
      Array([ True,  True, False], dtype=bool)
    """
    check_finite(params)
    return binarize_heads(
        map_neurons(
            lambda n: binarize_neurons(n, method=method) if isinstance(n, BiSEParams) else n, params
        )
    )


@struct.dataclass
class LayerReport:
    """What binarisation did to one set of neurons.

    Attributes:
      path: where they stand in the parameter tree.
      is_exact: bool (neurons...); activated, replaced without loss.
      is_erosion: bool (neurons...).
      is_constant: bool (neurons...); empty footprint: the output never changes.
      footprint_size: int (neurons...).
      squared_distance: float (neurons...); to what the method projects onto, 0 where exact: of the
        weights to the nearest lambda 1_S, or of weights and bias to the nearest activable neuron.
    """

    path: str = struct.field(pytree_node=False)
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


def binarize_with_report(
    params: Any, *, method: str = "constant"
) -> tuple[Any, tuple[LayerReport, ...]]:
    """`binarize`, and what happened to each neuron: one `LayerReport` per set of neurons.

    Needs concrete parameters. Arguments and errors are those of `binarize`.
    """
    check_finite(params)
    paths, reports = iter(named_neurons(params)), []

    def binarized(neurons: Neurons) -> Neurons:
        path = next(paths)
        if not isinstance(neurons, BiSEParams):
            return neurons
        boolean, exact, distance = _binarize_with_distance(neurons, method)
        size = jnp.sum(flat_weight(boolean.footprint, boolean.is_erosion), axis=0)
        fields = exact.is_activated, boolean.is_erosion, size == 0, size, distance
        reports.append(LayerReport(path, *(np.asarray(f) for f in fields)))
        return boolean

    return binarize_heads(map_neurons(binarized, params)), tuple(reports)

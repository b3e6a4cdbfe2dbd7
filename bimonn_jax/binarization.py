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
from bimonn_jax.params import (
    BiSEParams,
    BooleanBiSE,
    flat_weight,
    map_neurons,
    named_neurons,
    per_neuron,
    real_parameters,
)
from bimonn_jax.projection.constant import PROJECTIONS, squared_distance


def binarize_neurons(params: BiSEParams, *, method: str = "constant") -> BooleanBiSE:
    """Binarises one set of neurons; see `binarize`."""
    return _binarize_with_activation(params, method)[0]


@partial(jax.jit, static_argnames="method")
def _binarize_with_activation(
    params: BiSEParams, method: str
) -> tuple[BooleanBiSE, Activation, jax.Array]:
    """Returns the boolean neurons, the activation test and the projected footprints (n, ...)."""
    if method not in PROJECTIONS:
        raise ValueError(f"method must be one of {sorted(PROJECTIONS)}; got {method!r}")
    W, B, p = real_parameters(params)
    exact = activation(W, B, p)
    flat = flat_weight(W, B)
    projected = per_neuron(PROJECTIONS[method], B.ndim)(flat)
    footprint = jnp.where(exact.is_activated, exact.footprint, projected)
    is_erosion = jnp.where(exact.is_activated, exact.is_erosion, jnp.sum(flat, axis=0) < 2 * B)
    boolean = BooleanBiSE(footprint.reshape(W.shape), is_erosion, p < 0)
    return boolean, exact, projected


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
    Works under `jax.jit` and `jax.vmap`.

    Args:
      params: a tree with `BiSEParams` among its nodes; other leaves (a real head) are kept.
      method: the projection of neurons that are not activated: "constant" (nearest lambda 1_S),
        "uniform" or "normal" (its approximations by a threshold on the weights).

    Returns:
      The same tree with `BooleanBiSE` in place of `BiSEParams`.

    Raises:
      ValueError: for an unknown method, or (outside of a trace) parameters that are not finite or a
        scale of 0.

    >>> import jax.numpy as jnp
    >>> neurons = BiSEParams(jnp.array([[3.0], [2.0], [0.5]]), jnp.array([1.0]), jnp.array([1.0]))
    >>> binarize({"layer": neurons})["layer"].footprint[:, 0]
    Array([ True,  True, False], dtype=bool)
    """
    check_finite(params)
    return map_neurons(
        lambda n: binarize_neurons(n, method=method) if isinstance(n, BiSEParams) else n, params
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
      squared_distance: float (neurons...); of the weights to the nearest lambda 1_S, 0 where exact.
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
    boolean = binarize(params, method=method)
    reports = []
    for path, neurons in named_neurons(params).items():
        if not isinstance(neurons, BiSEParams):
            continue
        W, B, _ = real_parameters(neurons)
        result, exact, projected = _binarize_with_activation(neurons, method)
        distance = per_neuron(squared_distance, B.ndim)(flat_weight(W, B), projected)
        size = jnp.sum(flat_weight(result.footprint, result.is_erosion), axis=0)
        fields = (
            exact.is_activated,
            result.is_erosion,
            size == 0,
            size,
            jnp.where(exact.is_activated, 0.0, distance),
        )
        reports.append(LayerReport(path, *(np.asarray(f) for f in fields)))
    return boolean, tuple(reports)

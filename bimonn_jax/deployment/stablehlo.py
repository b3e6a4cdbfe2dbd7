"""Boolean networks as serialized StableHLO, which any XLA runtime of the next years loads."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from bimonn_jax._support.files import refuse_existing, user_path, write_bytes
from bimonn_jax.morphology.levels import as_numbers
from bimonn_jax.networks.boolean import BooleanNetwork


def export_stablehlo(
    network: BooleanNetwork,
    path: str | Path,
    input_shape: Sequence[int],
    *,
    dtype: str | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    overwrite: bool = False,
) -> Path:
    """Writes a boolean network by `jax.export`, for batches of any size.

    Args:
      network: architecture and boolean parameters.
      path: of the file.
      input_shape: of one input, (H, W, C) or (n,).
      dtype: of the inputs; by default bool, or uint8 if the network begins with level sets.
      platforms: on which it is to run.
      overwrite: whether an existing file may be replaced.

    Returns:
      The path.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: if the network does not take this shape or dtype.
    """
    refuse_existing(path, overwrite=overwrite)
    if dtype is None:
        dtype = "uint8" if network.takes_numbers else "bool"
    if dtype != "bool" and not network.takes_numbers:
        raise ValueError(f"dtype must be bool for a network on bits; got {dtype!r}")
    shape = export.symbolic_shape(", ".join(["batch", *map(str, input_shape)]))
    entry = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    exported = export.export(jax.jit(network.__call__), platforms=tuple(platforms))(entry)
    return write_bytes(path, bytes(exported.serialize()), overwrite=overwrite)


def run_stablehlo(path: str | Path, x: jax.Array | np.ndarray) -> jax.Array:
    """Runs a file of `export_stablehlo` on a batch."""
    exported = export.deserialize(bytearray(user_path(path).read_bytes()))
    y: jax.Array = exported.call(as_numbers(x))
    return y

"""Several devices, also of several processes: batches are split, parameters are everywhere.

With `jax.distributed.initialize` called in every process, the same program runs in all of them on a
mesh of all their devices. `bimonn_jax.fit` takes such a mesh; neurons to be projected may
be sharded over one, see `bimonn_jax.project`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.data.samples import Sample

_AXIS = "batch"


def batch_mesh() -> Mesh:
    """All devices of all processes in one row, whose axis is called "batch"."""
    return Mesh(np.array(jax.devices()), (_AXIS,))


def replicated(tree: Any, mesh: Mesh) -> Any:
    """A copy of a tree on every device of a mesh; every process must give the same values."""
    sharding = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> Any:
        if not jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key):
            return jax.device_put(leaf, sharding)
        # JAX puts keys onto devices of other processes only as the numbers that they are.
        data = jax.device_put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))

    return jax.tree.map(put, tree)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Says what happened where a computation fails since another process has gone."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise RuntimeError(
            f"process {jax.process_index()} of {jax.process_count()} cannot reach the others: one "
            "of them has ended. Start all of them again; a training with checkpoints goes on from "
            "the last one"
        ) from error


@pytree(eq=False)
class _SplitBatches:
    """What `split_batches` builds."""

    sample: Sample
    mesh: Mesh = static()

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = self.sample(key)
        if x.shape[0] % self.mesh.size:
            raise ValueError(
                f"a batch of {x.shape[0]} cannot be split over {self.mesh.size} devices: take a "
                "multiple"
            )
        sharding = NamedSharding(self.mesh, PartitionSpec(_AXIS))
        batch: tuple[jax.Array, jax.Array] = jax.lax.with_sharding_constraint((x, y), sharding)
        return batch


def split_batches(sample: Sample, mesh: Mesh) -> Sample:
    """Splits what ``sample`` draws over the devices, by its first axis.

    Args:
      sample: key -> (x, y), called under `jax.jit`.
      mesh: see `batch_mesh`.

    Raises:
      ValueError: when called, if a batch is no multiple of the devices.
    """
    return _SplitBatches(sample, mesh)

"""One process of a training and a projection: tests/training/test_distributed.py starts several.

python -m tests.support.distributed_training PROCESS PROCESSES PORT FOLDER [STEP_TO_DIE_AT]
"""

import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from bimonn_jax import BiMoNN, NeuronConfig
from bimonn_jax.binarization.projection.activable import project
from bimonn_jax.data.sticks import noisy_sticks
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.distributed import batch_mesh
from bimonn_jax.training.loop import fit
from bimonn_jax.training.losses import mse
from bimonn_jax.training.metrics import compare
from bimonn_jax.training.optimizers import optimizer_for


def training(folder, mesh, die_at=None):
    model = BiMoNN((1,), (3, 3), NeuronConfig("dual", "projected"))
    x, y = noisy_sticks(jax.random.key(1), 4, size=24, sticks=4)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]

    def die(row):
        if row["step"] == die_at:
            os._exit(1)

    with Checkpoints(folder / "checkpoint", model.architecture) as checkpoints:
        return fit(
            lambda p, x: apply_layers(model.architecture, p, x),
            params,
            lambda key: noisy_sticks(key, 16, size=24, sticks=4),
            compare(model.architecture, x, y, method="constant"),
            # Adam would blow up what sums over eight parts round otherwise than one sum.
            optimizer=optimizer_for(real=optax.sgd(0.5, momentum=0.9)),
            loss=mse,
            key=jax.random.key(2),
            steps=12,
            steps_per_evaluation=4,
            score="dice_float",
            checkpoints=checkpoints,
            callback=die,
            mesh=mesh,
        )


def projection(mesh):
    """Neurons on all devices of all processes; every process holds only its own part."""
    rng = np.random.default_rng(0)
    W, B = rng.normal(0.1, 1, (20, 64)).astype(np.float32), rng.normal(1, 1, 64).astype(np.float32)

    def place(values, *axes):
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    nearest = jax.jit(project)(place(W, None, "batch"), place(B, "batch"))
    return jax.tree.map(lambda a: multihost_utils.process_allgather(a, tiled=True), nearest)


def results(folder, mesh, die_at=None):
    """(Devices, history of the training, parameters and projected neurons as arrays)."""
    result = training(folder, mesh, die_at)
    leaves = jax.tree.leaves((result.state.params, projection(mesh)))
    return mesh.size, result.history, list(map(np.asarray, leaves))


def main():
    process, processes, port, folder = (*map(int, sys.argv[1:4]), Path(sys.argv[4]))
    die_at = float(sys.argv[5]) if len(sys.argv) > 5 else None
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        processes,
        process,
        heartbeat_timeout_seconds=10,
        shutdown_timeout_seconds=30,
    )
    devices, history, arrays = results(folder, batch_mesh(), die_at if process == 1 else None)
    if process == 0:
        np.savez(folder / "result.npz", *arrays)
        (folder / "history.json").write_text(json.dumps([devices, history]))


if __name__ == "__main__":
    main()

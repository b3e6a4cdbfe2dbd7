"""Two processes with four devices each, against one device: equal results, and what a loss does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from bimonn_jax.training.distributed import batch_mesh, split_batches
from tests.support import distributed_training

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run(folder, *, die_at=None):
    """Runs two processes to their ends; returns their (exit status, standard error)."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        # As the programs of this file are compiled in this process.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    port, last = free_port(), [] if die_at is None else [die_at]
    started = [
        subprocess.Popen(
            [
                sys.executable, "-m", "tests.support.distributed_training",
                *map(str, (process, 2, port, folder, *last)),
            ],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for process in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=1200)[1] for process in started]
    return [(p.returncode, error) for p, error in zip(started, errors, strict=True)]


def results(folder):
    devices, history = json.loads((folder / "history.json").read_text())
    with np.load(folder / "result.npz") as arrays:
        return devices, history, [arrays[name] for name in arrays.files]


def check_equal(one, other):
    for a, b in zip(one[2], other[2], strict=True):
        # Sums over eight parts round otherwise than one sum.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        if a.dtype == bool:
            np.testing.assert_array_equal(a, b)
    for a, b in zip(one[1], other[1], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


def test_eight_devices_of_two_processes_give_the_results_of_one(tmp_path):
    for status, errors in run(tmp_path / "two"):
        assert status == 0, errors
    one_device = Mesh(np.array(jax.devices()[:1]), ("batch",))
    one = distributed_training.results(tmp_path / "one", one_device)
    two = results(tmp_path / "two")
    assert (one[0], two[0]) == (1, 8)
    check_equal(one, two)


@pytest.mark.slow
def test_a_lost_process_ends_the_run_with_its_reason_and_a_restart_resumes(tmp_path):
    (first, errors), (second, _) = run(tmp_path / "cut", die_at=8)
    assert second == 1
    assert first != 0
    # Ours where a step notices it, JAX's where its service does: while a checkpoint waits for all.
    ours = "process 0 of 2 cannot reach the others: one of them has ended"
    assert ours in errors or "This most likely indicates that another task died" in errors
    assert not (tmp_path / "cut" / "result.npz").exists()
    for folder in ("cut", "whole"):
        for status, errors in run(tmp_path / folder):
            assert status == 0, errors
    check_equal(results(tmp_path / "cut"), results(tmp_path / "whole"))


def test_a_batch_that_cannot_be_split_is_refused():
    mesh = batch_mesh()
    assert mesh.size == 2

    def draw(count):
        return split_batches(lambda key: (jnp.zeros((count, 2)), jnp.zeros(count)), mesh)

    with pytest.raises(ValueError, match="a batch of 3 cannot be split over 2 devices"):
        draw(3)(jax.random.key(0))
    x, _ = jax.jit(draw(4))(jax.random.key(0))
    assert [shard.data.shape for shard in x.addressable_shards] == [(2, 2), (2, 2)]

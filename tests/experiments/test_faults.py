"""What goes wrong outside of the mathematics: kills, full disks, damaged files, NaN, memory."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import BiMoNN, NeuronConfig
from bimonn_jax._support.files import replacing, write_text
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.loop import fit, init_state
from bimonn_jax.training.losses import mse
from bimonn_jax.training.optimizers import optimizer_for
from bimonn_jax.training.sweep import run_in_chunks, stack_trials
from tests.support.boolean_networks import network as random_network
from tests.support.programs import written_results

ROOT = Path(__file__).parents[2]
X = bernoulli(jax.random.key(0), 0.5, (2, 6, 6, 1))
MODEL = BiMoNN((1,), (3, 3), NeuronConfig("dual", "projected"))
PARAMS = MODEL.init(jax.random.key(1), X)["params"]


# A program that heeds Ctrl-C, also where the tests themselves run in the background.
MODULE = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def start(*command):
    return subprocess.Popen(
        [sys.executable, "-c", MODULE, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(condition, process, seconds=900):
    """Waits until the condition holds while the process runs; fails if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_goes_on_to_the_numbers_of_an_uninterrupted_one(stop, tmp_path):
    steps = "--steps=300"
    metrics = {}
    for name in ("whole", "killed"):
        command = "experiments.denoise", steps, f"--out_dir={tmp_path / name}", "--overwrite"
        if name == "killed":
            # Results of an earlier run: those of a run that ended must not be taken for its own.
            (tmp_path / name).mkdir()
            (tmp_path / name / "metrics.json").write_text("{}")
            process = start(*command)
            # Orbax writes next to the checkpoints and renames: killed while it does so.
            folder = tmp_path / name / "checkpoint"
            wait_for(lambda folder=folder: len(list(folder.glob("*"))) >= 2, process)
            process.send_signal(stop)
            process.communicate(timeout=300)
            assert process.returncode != 0
            assert not (tmp_path / name / "metrics.json").exists()
        done = start(*command)
        _, errors = done.communicate(timeout=1200)
        assert done.returncode == 0, errors.decode()
        metrics[name] = written_results(tmp_path / name / "metrics.json")
        del metrics[name]["train_seconds"]
    assert metrics["whole"] == metrics["killed"]


@pytest.mark.slow
def test_a_killed_sweep_loses_only_the_trials_in_flight(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    command = [
        "experiments.sweep", "--weights=dual", "--regularizers=none", "--features=20",
        "--steps=400", "--evaluations=1", "--chunk=1", "--trials=8", f"--out_dir={tmp_path}",
    ]  # fmt: skip
    journal = tmp_path / "studies.journal"
    process = start(*command)
    wait_for(lambda: journal.exists() and "accuracy_boolean" in journal.read_text(), process)
    process.kill()
    process.communicate()
    told = journal.read_text()
    done = start(*command)
    errors = done.communicate(timeout=1200)[1]
    assert done.returncode == 0, errors.decode()
    assert journal.read_text().startswith(told)
    rows = written_results(tmp_path / "sweep.json")["rows"]
    assert len(rows) == 8
    assert len({row["learning_rate"] for row in rows}) == 8


def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old", overwrite=False)

    def fail():
        with replacing(path, overwrite=True) as part:
            part.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(FileExistsError, match=r"a\.txt exists: pass overwrite=True"):
        write_text(path, "new", overwrite=False)


FULL_DISK = """
import resource, sys
from bimonn_jax.data.image_files import write_image
from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.networks.saving import load_network, save_network
import numpy as np
folder = sys.argv[1]
network = load_network(f"{folder}/n.npz")
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
writers = [
    lambda: save_network(f"{folder}/n.npz", network.architecture, network.params, overwrite=True),
    lambda: export_c(network, f"{folder}/n.c", (9, 7, 2)),
    lambda: write_image(f"{folder}/n.tif", np.eye(300) > 0),
]
for index, write in enumerate(writers):
    try:
        write()
    except OSError as error:
        print(index)
"""


def test_where_nothing_more_can_be_written_the_old_file_stays_and_the_error_is_clear(tmp_path):
    """A limit on the size of files stands for a full disk: both fail in the middle of a write."""
    network, _ = random_network("convolutional")
    save_network(tmp_path / "n.npz", network.architecture, network.params)
    before = (tmp_path / "n.npz").read_bytes()
    assert len(before) > 700
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split() == ["0", "1", "2"], done.stderr
    assert os.listdir(tmp_path) == ["n.npz"]
    assert (tmp_path / "n.npz").read_bytes() == before
    load_network(tmp_path / "n.npz")


def checkpoints_at(folder, *steps):
    """Checkpoints of a state that counts its steps, and the state."""
    state = init_state(PARAMS, optimizer_for())
    with Checkpoints(folder, MODEL.architecture) as checkpoints:
        for step in steps:
            checkpoints.save(state.replace(step=jnp.int32(step)), [{"step": float(step)}])
    return state


def damage(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, caplog):
    state = checkpoints_at(tmp_path, 50, 100)
    damage(tmp_path / "100")
    with Checkpoints(tmp_path, MODEL.architecture) as checkpoints:
        with caplog.at_level(logging.WARNING):
            restored, history = checkpoints.restore(state)
        assert int(restored.step) == 50
        assert history == [{"step": 50.0}]
        assert "checkpoint 100 in" in caplog.text
        # What is trained again can be saved again.
        checkpoints.save(state.replace(step=jnp.int32(100)), [])
        assert checkpoints.newest_step() == 100
    assert int(Checkpoints(tmp_path, MODEL.architecture).restore(state)[0].step) == 100


def test_checkpoints_in_a_folder_of_no_text_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="a\ufffd has bytes in its name that are no text"):
        Checkpoints(tmp_path / "a\udcf6", MODEL.architecture)
    assert not list(tmp_path.iterdir())


def test_checkpoints_that_are_all_damaged_are_named(tmp_path):
    state = checkpoints_at(tmp_path, 50)
    damage(tmp_path / "50")
    with pytest.raises(ValueError, match=r"none of the checkpoints in .* \(steps \[50\]\): remove"):
        Checkpoints(tmp_path, MODEL.architecture).restore(state)


def train(loss, **options):
    return fit(
        lambda p, x: apply_layers(MODEL.architecture, p, x),
        PARAMS,
        lambda key: (X, X),
        lambda params: {"score": jnp.float32(0)},
        loss=loss,
        key=jax.random.key(0),
        score="score",
        steps_per_evaluation=4,
        **options,
    )


def test_a_loss_that_is_not_finite_is_named_with_its_step_its_parameters_and_what_is_left(tmp_path):
    checkpoints = Checkpoints(tmp_path, MODEL.architecture)
    train(mse, steps=8, checkpoints=checkpoints)

    def exploding(prediction, y):
        # The square root of 0 has no finite gradient.
        return jnp.sqrt(jnp.sum(jnp.square(prediction - prediction))) / 0

    with pytest.raises(FloatingPointError) as caught:
        train(exploding, steps=16, checkpoints=checkpoints)
    message = str(caught.value)
    assert "the loss of step 9 is not finite" in message
    assert "params" not in message
    assert "layers_0/bise/weight" in message
    assert "The last good checkpoint, of step 8, is kept." in message
    restored, _ = Checkpoints(tmp_path, MODEL.architecture).restore(
        init_state(PARAMS, optimizer_for())
    )
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(restored.params))


def trials(count):
    one = {"learning_rate": 0.1, "coefficient": 0.0, "delay": 0.0}
    return stack_trials([one | {"seed": float(i)} for i in range(count)])


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_a_chunk_that_exceeds_the_memory_is_halved(most, caplog):
    asked = []

    def run(chunk):
        asked.append(len(chunk))
        if len(chunk) > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return {"seed": chunk.seed}

    with caplog.at_level(logging.WARNING):
        found = run_in_chunks(run, trials(11), 8)
    np.testing.assert_array_equal(found["seed"], np.arange(11))
    assert ("trials at once exceed the memory" in caplog.text) == (most < 8)
    assert asked[0] == 8
    assert max(asked[-2:]) <= most


def test_other_errors_and_a_single_trial_that_is_too_large_are_not_hidden():
    def failing(message):
        def run(chunk):
            raise jax.errors.JaxRuntimeError(message)

        return run

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        run_in_chunks(failing("INTERNAL: something else"), trials(4), 2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        run_in_chunks(failing("RESOURCE_EXHAUSTED"), trials(4), 2)

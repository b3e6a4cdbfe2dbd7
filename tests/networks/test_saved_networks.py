"""Files of an older version (commit 024e851, format 3) are read and compute the same."""

from pathlib import Path

import numpy as np
import pytest

from bimonn_jax import PackedNetwork, load_network
from bimonn_jax.networks.kinds import LUILayer, RealLayer

SAVED = Path(__file__).parent / "saved"
NAMES = [path.stem for path in sorted(SAVED.glob("*.npz")) if not path.stem.endswith("_outputs")]


@pytest.mark.parametrize("name", NAMES)
def test_saved_networks_of_before_compute_the_same(name):
    network = load_network(SAVED / f"{name}.npz")
    with np.load(SAVED / f"{name}_outputs.npz") as examples:
        x, expected = examples["x"], examples["y"]
    for run in (network, PackedNetwork(network, x.shape[1:])):
        np.testing.assert_allclose(run(x), expected, rtol=1e-5)


def test_kinds_that_were_renamed_are_read():
    dense, real = (load_network(SAVED / f"{name}.npz") for name in ("dense", "real_head"))
    assert isinstance(dense.architecture[0], LUILayer)
    assert isinstance(real.architecture[-1], RealLayer)

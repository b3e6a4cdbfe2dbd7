"""A part of what `python -m tests.support.certificate_enumeration` counts: no claim is false."""

import numpy as np
import pytest

from tests.support.certificate_enumeration import DTYPES, NETWORKS, check_network, check_neurons


@pytest.mark.parametrize("n", [1, 2, pytest.param(3, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_neuron_is_proven_that_differs_as_it_runs_or_in_real_arithmetic(dtype, n):
    real, runs = check_neurons(np.random.default_rng(n), dtype, n, 500)
    assert real.false == runs.false == 0
    assert real.proven > 0.9 * real.equal > 0
    assert 0 < runs.proven < runs.cases


@pytest.mark.parametrize("name", NETWORKS)
def test_no_network_is_proven_that_differs_as_it_runs(name):
    rng, claims = np.random.default_rng(1), []
    for dtypes in (["float32"], ["float16", "bfloat16", "float32"], ["float32", "float64"]):
        equal, proven, _ = check_network(rng, name, dtypes)
        claims.append(proven)
        assert equal or not proven
    for _ in range(20):
        # Some of every kind of layer are proven.
        if any(claims):
            break
        equal, proven, _ = check_network(rng, name, ["float32"])
        claims.append(proven)
        assert equal or not proven
    assert any(claims)

"""Settings and fixtures shared by all tests."""

import jax
import pytest
from hypothesis import settings

settings.register_profile("reproducible", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("reproducible")

TRANSFORMS = {"plain": lambda fn: fn, "jit": jax.jit, "vmap": jax.vmap}


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    """Wraps a function of arrays that share a leading axis: as it is, under jit, under vmap."""
    return TRANSFORMS[request.param]

"""Settings and fixtures shared by all tests."""

import os
from pathlib import Path

# Most of the time goes into compiling. Workers, the programs that tests start, and later runs share
# what is compiled; set before JAX is imported.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache/jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import pytest
from hypothesis import settings

# Two, so that what is split over devices is.
jax.config.update("jax_num_cpu_devices", 2)

# Needs Cosmic Ray, which `make mutants` installs.
collect_ignore = ["support/mutants.py"]

settings.register_profile("reproducible", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("reproducible")

TRANSFORMS = {"plain": lambda fn: fn, "jit": jax.jit, "vmap": jax.vmap}


# Files whose tests promote dtypes or ranks, themselves, in the runtimes that they test or in the
# examples of the documentation, which are written for JAX as it comes.
PROMOTING = {
    "test_activation",
    "test_starts",
    "test_other_libraries",
    "test_yosys",
    "test_hit_or_miss",
    "test_nnx",
    "test_own_images",
    "test_programs",
    "test_projection_activable",
    "test_readme",
}


@pytest.fixture(scope="module", autouse=True)
def strict_promotion(request):
    """Nothing of ours promotes dtypes or ranks by accident, for users may have JAX refuse it."""
    if request.module.__name__.rpartition(".")[2] in PROMOTING:
        yield
        return
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


# Files that ask what networks, trainings and programs do, and not how they round or how fast they
# are: optimizing what is compiled takes longer there than running it as it is.
COMPILED_QUICKLY = {
    "test_architecture",
    "test_classifiers",
    "test_distributed",
    "test_faults",
    "test_graphs",
    "test_identity",
    "test_kinds",
    "test_loop",
    "test_models",
    "test_modules",
    "test_nnx",
    "test_programs",
    "test_random_shapes",
    "test_rank_training",
    "test_recipes",
    "test_regularization",
    "test_search",
    "test_starts",
    "test_sweep",
    "test_viz",
}


@pytest.fixture(scope="module", autouse=True)
def compiled_programs(request):
    """Compiles quickly where that will do, and keeps a worker's memory small.

    What one file compiled, the next hardly ever needs.
    """
    is_quick = request.module.__name__.rpartition(".")[2] in COMPILED_QUICKLY
    jax.config.update("jax_disable_most_optimizations", is_quick)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    """Wraps a function of arrays that share a leading axis: as it is, under jit, under vmap."""
    return TRANSFORMS[request.param]

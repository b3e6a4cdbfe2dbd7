from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from bimonn_jax.training.compiled import compiled

X = jnp.arange(4.0)
OFFSET = 1.0


def apply(parts, x):
    return {"y": parts["f"](x)}


def scaled(factor, values, x):
    scaled.traces += 1
    return factor * (values + x)


@pytest.fixture(autouse=True)
def traces():
    scaled.traces = 0


@pytest.fixture
def compilations(monkeypatch):
    """Counts the programs that XLA is asked for."""
    jax.clear_caches()
    count = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            count.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield count
    jax.monitoring.unregister_event_duration_listener(listen)


def run(f, x=X):
    return compiled(apply, {"f": f})(x)["y"]


def test_what_is_compiled_gives_what_the_function_gives():
    np.testing.assert_array_equal(run(lambda x: 2 * x), 2 * X)


def test_other_data_of_a_function_that_is_a_tree_trace_nothing():
    def twice(values, x):
        twice.traces += 1
        return 2 * (values + x)

    twice.traces = 0
    for values in (X, X + 1, np.ones(4, np.float32)):
        np.testing.assert_array_equal(run(Partial(twice, values)), 2 * (values + X))
    assert twice.traces == 1
    run(Partial(twice, jnp.ones(1)))
    assert twice.traces == 2


def test_partials_of_equal_arguments_are_one_and_others_are_not():
    for factor in (2, 2, 3, 3.0):
        run(partial(scaled, factor, 1.0))
    assert scaled.traces == 3


def test_new_functions_of_the_same_program_compile_nothing(compilations):
    x = np.arange(4, dtype=np.float32)
    for shift in range(3):
        values = x + np.float32(shift)
        # Data of the closure, and data beside it.
        found = run(lambda x, values=values: jnp.sin(jnp.asarray(values) + x), x)
        np.testing.assert_allclose(found, np.sin(values + x), rtol=1e-6)
        if not shift:
            made = len(compilations)
    assert made > 0
    assert len(compilations) == made


def test_data_that_a_function_closes_over_are_no_constants_of_the_program():
    # Folding a constant of this size would take minutes.
    values = jnp.zeros((300, 300, 300))

    def f(x):
        return jnp.sum(jnp.sort(values, axis=0)) + x

    assert run(f).shape == (4,)


def test_a_variable_that_is_set_anew_is_read_anew(monkeypatch):
    def reads_global(x):
        return x + OFFSET

    def calls_another(x):
        return reads_global(x)

    values = X

    def reads_closure(x):
        return x + values

    for f in (reads_global, calls_another, lambda x: calls_another(x)):
        monkeypatch.setattr(f"{__name__}.OFFSET", 1.0)
        np.testing.assert_array_equal(run(f), X + 1)
        monkeypatch.setattr(f"{__name__}.OFFSET", 5.0)
        np.testing.assert_array_equal(run(f), X + 5)
    run(reads_closure)
    values = X + 7
    np.testing.assert_array_equal(run(reads_closure), X + values)


def test_a_counter_that_a_function_writes_is_none_of_its_inputs():
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return x

    for _ in range(3):
        run(f)
    assert count == 1


def test_functions_that_call_python_back_are_not_taken_for_one_another():
    seen = []

    def calling(name):
        def f(x):
            jax.debug.callback(lambda: seen.append(name))
            return x

        return f

    for name in "ab":
        run(calling(name))
    jax.effects_barrier()
    assert seen == ["a", "b"]


def test_settings_of_jax_are_not_taken_over_from_another_call():
    f = jax.numpy.ones_like
    assert run(f).dtype == jnp.float32
    with jax.enable_x64(True):
        assert run(f, np.arange(4.0)).dtype == jnp.float64
    assert run(f).dtype == jnp.float32

import numpy as np
import pytest

from bimonn_jax.binarization.projection.duality import Form
from bimonn_jax.binarization.projection.qp import FootprintProgram, project_qp, super_level_sets


def test_a_program_is_built_once_and_solved_for_any_neuron():
    program = FootprintProgram(3, Form())
    S = np.array([True, False, False])
    first = program.solve(np.array([2.0, 1.0, 1.0]), 1.5, S)
    # By hand: b = B + (2 - b) / 3 ... the two ones give 1/6 each and the bias gains 1/6.
    np.testing.assert_allclose(first.weight, [2, 5 / 6, 5 / 6], atol=1e-7)
    np.testing.assert_allclose(first.threshold, 5 / 3, atol=1e-7)
    np.testing.assert_allclose(first.squared_distance, 3 / 36, atol=1e-7)
    activated = program.solve(np.array([2.0, 0.5, 0.5]), 1.5, S)
    np.testing.assert_allclose(activated.squared_distance, 0, atol=1e-12)
    again = program.solve(np.array([2.0, 1.0, 1.0]), 1.5, S)
    np.testing.assert_allclose(again.weight, first.weight, atol=1e-7)


def test_a_solver_that_does_not_converge_is_named_with_what_to_do():
    program = FootprintProgram(4, Form(), tolerance=1e-300)
    W = np.random.default_rng(0).normal(size=4)
    with pytest.raises(RuntimeError, match=r"OSQP did not solve .* 4 inputs .*method='activable'"):
        program.solve(W, 0.3, np.array([True, True, False, False]))


def test_super_level_sets_take_the_first_of_equal_weights():
    sets = super_level_sets(np.array([1.0, 3.0, 1.0]))
    np.testing.assert_array_equal(
        sets, [[False, True, False], [True, True, False], [True, True, True]]
    )


def test_the_kind_of_erosion_is_checked():
    with pytest.raises(ValueError, match="erosion must be one of"):
        project_qp(np.ones((3, 1)), np.ones(1), erosion="none")

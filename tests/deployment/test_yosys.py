"""The estimate of an FPGA's resources, by Yosys, where it is known by hand."""

import shutil

import jax
import numpy as np
import pytest

from bimonn_jax.deployment.verilog import export_verilog
from bimonn_jax.deployment.yosys import Resources, estimate_resources
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.models import Sequential
from bimonn_jax.networks.modules import LUI
from bimonn_jax.neurons.params import BooleanNeurons, map_neurons

needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed")


def unions(inputs: int, neurons: int) -> BooleanNetwork:
    """Every neuron is the union of all the inputs but its own."""
    model = Sequential((LUI(neurons),))
    params = model.init(jax.random.key(0), np.zeros((1, inputs)))["params"]
    footprint = ~np.eye(inputs, neurons, dtype=bool)
    none = np.zeros(neurons, bool)
    boolean = map_neurons(lambda _: BooleanNeurons(footprint, none, none), params)
    return BooleanNetwork(model.architecture, boolean)


@needs_yosys
def test_unions_of_as_many_inputs_as_a_table_take_one_table_each(tmp_path):
    path = export_verilog(unions(5, 3), tmp_path / "n.v", (5,))
    assert estimate_resources(path, lut_inputs=4) == Resources(3, 0, 1, 4)


@needs_yosys
def test_larger_unions_take_more_tables_in_a_row(tmp_path):
    path = export_verilog(unions(12, 1), tmp_path / "n.v", (12,))
    # 11 inputs: one table of 6 whose result is, with the other 5, the input of another.
    assert estimate_resources(path, lut_inputs=6) == Resources(2, 0, 2, 6)


@needs_yosys
def test_pipelined_modules_have_a_register_for_every_bit(tmp_path):
    path = export_verilog(unions(5, 3), tmp_path / "n.v", (5,), pipelined=True)
    assert estimate_resources(path, lut_inputs=4) == Resources(3, 3, 1, 4)


@needs_yosys
def test_a_file_that_is_no_verilog_is_refused_with_yosys_words(tmp_path):
    path = tmp_path / "n.v"
    path.write_text("module network (")
    with pytest.raises(RuntimeError, match=r"(?s)yosys .* failed.*syntax error"):
        estimate_resources(path)
    with pytest.raises(FileNotFoundError, match=r"missing\.v"):
        estimate_resources(tmp_path / "missing.v")


def test_wrong_arguments_and_a_missing_tool_are_named(tmp_path):
    path = export_verilog(unions(5, 3), tmp_path / "n.v", (5,))
    with pytest.raises(FileNotFoundError, match="'no_such_yosys' is not installed"):
        estimate_resources(path, yosys="no_such_yosys")
    with pytest.raises(ValueError, match="lut_inputs must be 2 to 8, got 9"):
        estimate_resources(path, lut_inputs=9)
    with pytest.raises(ValueError, match="name must be"):
        estimate_resources(path, name="network; exec rm")

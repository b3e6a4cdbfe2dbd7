"""Boolean networks as ONNX graphs: convolutions by -1, 0 and 1, compared with what is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bimonn_jax._support.files import refuse_existing, write_bytes
from bimonn_jax.deployment.circuit import (
    Circuit,
    Flatten,
    Gates,
    Linear,
    Thresholds,
    Upsample,
    Votes,
    circuit_of,
)
from bimonn_jax.morphology.windows import PAD_MODES
from bimonn_jax.networks.boolean import BooleanNetwork

_OPSET = 19
# Sums of ones and minus ones up to this, and such sums less a half, are float32 numbers. (Votes are
# counted too: see `bimonn_jax.neurons.check_countable`.)
_MOST_LITERALS = 2**23


class _Graph:
    """Nodes and constants of a graph as it grows; values are float32 (N, C, H, W) of 0 and 1."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def cast(self, value: str, to: int, output: str = "") -> str:
        return self.add("Cast", value, output=output, to=to)

    def joined(self, values: Sequence[str]) -> str:
        """Images with their channels one after the other."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=1)

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", value, self.constant(np.array([-1, *shape], np.int64)))


def _first(graph: _Graph, circuit: Circuit) -> str:
    """The input as bits (N, C, H, W)."""
    height, width, channels = circuit.shapes[0]
    value = "x"
    if circuit.thresholds is not None:
        levels = circuit.thresholds.values
        numbers = graph.reshape(graph.cast(value, TensorProto.FLOAT), (height, width, channels, 1))
        value = graph.add("GreaterOrEqual", numbers, graph.constant(levels))
        channels = levels.size
    value = graph.reshape(graph.cast(value, TensorProto.FLOAT), (height, width, channels))
    return graph.add("Transpose", value, perm=[0, 3, 1, 2])


def _gates(graph: _Graph, value: str, gates: Gates) -> str:
    if gates.padding != ((0, 0), (0, 0)):
        (top, bottom), (left, right) = gates.padding
        widths = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        value = graph.add("Pad", value, widths, mode=PAD_MODES[gates.border])
    most = int(np.diff(gates.starts).max())
    if most > _MOST_LITERALS:
        raise ValueError(
            f"{gates.name} has a gate of {most:,} literals; float32 counts {_MOST_LITERALS:,} "
            "exactly"
        )
    weights = np.zeros((len(gates), gates.channels, *gates.window), np.int8)
    enough = np.zeros((1, len(gates), 1, 1), np.float32)
    flip = np.zeros((1, len(gates), 1, 1), bool)
    for gate in range(len(gates)):
        to_be_set, to_be_clear, needed, flip[0, gate] = gates.requirements(gate)
        for literals, sign in ((to_be_set, 1), (to_be_clear, -1)):
            row, column, channel = literals.T
            weights[gate, channel, row, column] += sign
        # Of those that are to be clear, the set ones are missing.
        enough[0, gate] = needed - len(to_be_clear) - 0.5
    kernel = graph.cast(graph.constant(weights), TensorProto.FLOAT)
    # Unions and intersections ask for as many as are needed, and none of those that must be clear:
    # the largest value there is. Sums are whole numbers and compared half-way between two, whatever
    # less than that a fast convolution may round.
    holds = graph.add("Greater", graph.add("Conv", value, kernel), graph.constant(enough))
    value = graph.cast(graph.add("Xor", holds, graph.constant(flip)), TensorProto.FLOAT)
    if gates.pool == 1:
        return value
    side = [gates.pool, gates.pool]
    return graph.add("MaxPool", value, kernel_shape=side, strides=side, ceil_mode=1)


def _upsampled(graph: _Graph, value: str, stage: Upsample) -> str:
    scales = graph.constant(np.array([1, 1, stage.factor, stage.factor], np.float32))
    value = graph.add(
        "Resize",
        value,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    starts, axes = (graph.constant(np.array(of, np.int64)) for of in ([0, 0], [2, 3]))
    ends = graph.constant(np.array([stage.height, stage.width], np.int64))
    return graph.add("Slice", value, starts, ends, axes)


def _last(graph: _Graph, value: str, circuit: Circuit) -> Any:
    """Adds the output "y" and describes it."""
    head = circuit.head
    shape: list[str | int | None] = ["batch", *circuit.output_shape]
    if head is not None:
        features = circuit.shape_before(len(circuit.stages) - 1)[2]
        value = graph.reshape(value, (features,))
        if isinstance(head, Linear):
            products = graph.add("MatMul", value, graph.constant(head.kernel))
            graph.add("Add", products, graph.constant(head.bias), output="y")
            return helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
        votes = head.positive.astype(np.int8) - head.negative.astype(np.int8)
        weights = graph.cast(graph.constant(votes), TensorProto.FLOAT)
        graph.cast(graph.add("MatMul", value, weights), TensorProto.INT32, output="y")
        return helper.make_tensor_value_info("y", TensorProto.INT32, shape)
    value = graph.add("Transpose", value, perm=[0, 2, 3, 1])
    graph.cast(graph.reshape(value, circuit.output_shape), TensorProto.BOOL, output="y")
    return helper.make_tensor_value_info("y", TensorProto.BOOL, shape)


def export_onnx(
    network: BooleanNetwork,
    path: str | Path,
    input_shape: Sequence[int],
    *,
    overwrite: bool = False,
) -> Path:
    """Writes a boolean network as an ONNX model, checked by ``onnx.checker``.

    Its input "x" is bool (batch, *input_shape), or float32 if the network begins with level sets;
    its output "y" is what the network gives.

    Level sets compare as `bimonn_jax.morphology.level_sets` does with floats: whole numbers above
    2^24 are rounded when they become float32.

    Args:
      network: architecture and boolean parameters.
      path: of the file.
      input_shape: of one input, (H, W, C) or (n,).
      overwrite: whether an existing file may be replaced.

    Returns:
      The path.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: if the network does not take this shape, or has gates of more literals than
        float32 counts exactly.
    """
    refuse_existing(path, overwrite=overwrite)
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    graph = _Graph()
    # Level sets are part of the input, and heads of the output.
    values = {0: _first(graph, circuit)}
    value = values[0]
    for index, (stage, sources) in enumerate(zip(circuit.stages, circuit.sources, strict=True)):
        value = graph.joined([values[source] for source in sources])
        match stage:
            case Gates():
                value = _gates(graph, value, stage)
            case Flatten():
                value = graph.add("Transpose", value, perm=[0, 2, 3, 1])
                value = graph.reshape(value, (circuit.shapes[index + 1][2], 1, 1))
            case Upsample():
                value = _upsampled(graph, value, stage)
            case Thresholds() | Votes() | Linear():
                pass
            case _:
                assert_never(stage)
        values[index + 1] = value
    output = _last(graph, value, circuit)
    numbers = TensorProto.BOOL if circuit.thresholds is None else TensorProto.FLOAT
    entry = helper.make_tensor_value_info("x", numbers, ["batch", *circuit.input_shape])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "boolean_network", [entry], [output], graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="bimonn_jax",
        ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    return write_bytes(path, model.SerializeToString(), overwrite=overwrite)

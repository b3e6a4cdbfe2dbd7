"""Boolean networks as synthesisable Verilog."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import assert_never

import numpy as np

from bimonn_jax._support.files import write_text
from bimonn_jax.deployment.circuit import (
    Circuit,
    Flatten,
    Gates,
    Linear,
    Shape,
    Thresholds,
    Votes,
    circuit_of,
)
from bimonn_jax.deployment.describe import chain, picture, title
from bimonn_jax.deployment.names import check_identifier, in_comment
from bimonn_jax.networks.boolean import BooleanNetwork

# (row, column) of the padding -> what stands there by border; None for a constant 0.
_SOURCES: dict[str, Callable[[int, int], int | None]] = {
    "edge": lambda i, size: min(max(i, 0), size - 1),
    "reflect": lambda i, size: -i if i < 0 else 2 * (size - 1) - i if i >= size else i,
    "wrap": lambda i, size: i % size,
    "zero": lambda i, size: i if 0 <= i < size else None,
}


def _bit(source: str, shape: Shape, gates: Gates, y: int, x: int, channel: int) -> str:
    """One bit of a padded image."""
    of = _SOURCES[gates.border]
    row, column = of(y - gates.padding[0][0], shape[0]), of(x - gates.padding[1][0], shape[1])
    if row is None or column is None:
        return "1'b0"
    return f"{source}[{(row * shape[1] + column) * shape[2] + channel}]"


def _gate(source: str, shape: Shape, gates: Gates, gate: int, y: int, x: int) -> str:
    literals, is_inverted = gates.literals_of(gate)
    terms = [
        ("~" if inverted else "") + _bit(source, shape, gates, y + row, x + column, channel)
        for (row, column, channel), inverted in zip(literals.tolist(), is_inverted, strict=True)
    ]
    is_erosion = bool(gates.is_erosion[gate])
    joined = (" & " if is_erosion else " | ").join(terms) or f"1'b{int(is_erosion)}"
    return f"~({joined})" if gates.complement[gate] else joined


def _gates(gates: Gates, source: str, shape: Shape, target: str, put: str) -> Iterator[str]:
    yield f"    // {in_comment(gates.name)}"
    rows, columns, count = gates.shape_after(shape)
    height, width = gates.positions(shape)
    for gate in range(count):
        yield f"    // gate {gate}: {title(gates, gate)}"
        if gates.window != (1, 1):
            yield from (f"    //   {line}" for line in picture(gates, gate))
        for row, column in product(range(rows), range(columns)):
            ys = range(row * gates.pool, min((row + 1) * gates.pool, height))
            xs = range(column * gates.pool, min((column + 1) * gates.pool, width))
            values = [_gate(source, shape, gates, gate, y, x) for y, x in product(ys, xs)]
            value = values[0] if len(values) == 1 else " | ".join(f"({v})" for v in values)
            bit = f"{target}[{(row * columns + column) * count + gate}]"
            yield put.format(bit, value)


def _level_sets(
    stage: Thresholds, source: str, shape: Shape, target: str, put: str
) -> Iterator[str]:
    channels, levels = stage.values.shape
    for index in range(math.prod(shape)):
        for k in range(levels):
            # Whole numbers compare with the ceiling.
            level = math.ceil(stage.values[index % channels, k])
            if not 0 <= level <= 255:
                raise ValueError(f"thresholds must lie in 0 to 255 for Verilog; got {level}")
            pixel = f"{source}[{8 * index + 7}:{8 * index}]"
            yield put.format(f"{target}[{index * levels + k}]", f"{pixel} >= 8'd{level}")


def _width(votes: Votes) -> int:
    """Bits of a signed number that holds every score.

    Of n features at most n vote for a class and at most n against it, so scores are of -n to n;
    n < 2^(width - 1). Sums on the way may leave that range: they wrap around at 2^width, and the
    last one is right as it does not.
    """
    return len(votes.positive).bit_length() + 1


def _votes(votes: Votes, source: str, width: int, put: str) -> Iterator[str]:
    # Single bits widen to the sum's width, as the standard says; Verilator would warn of each.
    yield "    // verilator lint_off WIDTH"
    for k, (positive, negative) in enumerate(zip(votes.positive.T, votes.negative.T, strict=True)):
        terms = [f" + {source}[{i}]" for i in np.flatnonzero(positive)]
        terms += [f" - {source}[{i}]" for i in np.flatnonzero(negative)]
        sum_of_bits = f"{width}'d0" + "".join(terms)
        yield put.format(f"scores[{width * k + width - 1}:{width * k}]", sum_of_bits)
    yield "    // verilator lint_on WIDTH"


class _Module:
    """Writes the module of one circuit."""

    def __init__(self, circuit: Circuit, name: str, pipelined: bool) -> None:
        self.circuit, self.name, self.pipelined = circuit, name, pipelined

    def text(self) -> str:
        circuit = self.circuit
        # How a value is put on a wire or into a register.
        put = "        {} <= {};" if self.pipelined else "    assign {} = {};"
        size = math.prod(circuit.input_shape) * (1 if circuit.thresholds is None else 8)
        ports = [f"input wire [{size - 1}:0] x"]
        if self.pipelined:
            ports.insert(0, "input wire clock")
        lines = []
        source = "x"
        for index, stage in enumerate(circuit.stages):
            shape, after = circuit.shapes[index], circuit.shapes[index + 1]
            target = f"stage_{index}"
            match stage:
                case Votes():
                    width = _width(stage)
                    ports.append(f"output {self._kind} [{width * after[2] - 1}:0] scores")
                    lines += self._block(_votes(stage, source, width, put))
                    lines.insert(0, f"    // scores: {after[2]} signed numbers of {width} bits")
                    continue
                case Gates():
                    found = _gates(stage, source, shape, target, put)
                case Thresholds():
                    found = _level_sets(stage, source, shape, target, put)
                case Flatten():
                    continue  # The bits are in this order already.
                case Linear():
                    raise ValueError(
                        "a real head needs floating point: train with a ternary or popcount head, "
                        "or export the layers before it"
                    )
                case _:
                    assert_never(stage)
            lines.append(f"    {self._kind} [{math.prod(after) - 1}:0] {target};")
            lines += self._block(found)
            source = target
        if circuit.head is None:
            ports.append(f"output wire [{math.prod(circuit.shapes[-1]) - 1}:0] y")
            lines.append(f"    assign y = {source};")
        how = "one stage a clock cycle" if self.pipelined else "combinational"
        ports_text = ",\n".join(f"    {port}" for port in ports)
        return (
            f"// {self.name}: a boolean network, {chain(circuit)}, {how}; written by bimonn_jax.\n"
            "// Bits are in the order of the image: row by row, channels innermost.\n"
            f"module {self.name} (\n{ports_text}\n);\n" + "\n".join(lines) + "\nendmodule\n"
        )

    @property
    def _kind(self) -> str:
        return "reg" if self.pipelined else "wire"

    def _block(self, lines: Iterator[str]) -> list[str]:
        if not self.pipelined:
            return list(lines)
        return ["    always @(posedge clock) begin", *lines, "    end"]


def export_verilog(
    network: BooleanNetwork,
    path: str | Path,
    input_shape: Sequence[int],
    *,
    name: str = "network",
    pipelined: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a boolean network as one Verilog module.

    Its input ``x`` holds the bits of one image (8 bits a pixel if the network begins with level
    sets), its output is ``y``, the bits, or ``scores``: signed numbers side by side, class 0 in the
    lowest bits.

    Args:
      network: architecture and boolean parameters.
      path: of the file.
      input_shape: of one input, (H, W, C) or (n,).
      name: of the module.
      pipelined: whether every stage ends in registers, with an input ``clock``: one image a cycle,
        with a latency of as many cycles as stages; otherwise the module is combinational.
      overwrite: whether an existing file may be replaced.

    Returns:
      The path.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for a real head, thresholds outside of 0 to 255, a name that Verilog does not
        take, or a shape that the network does not take.
    """
    check_identifier(name, "Verilog")
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    return write_text(path, _Module(circuit, name, pipelined).text(), overwrite=overwrite)

"""Boolean networks as synthesizable Verilog."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    Upsample,
    Votes,
    circuit_of,
)
from bimonn_jax.deployment.describe import chain, picture, title
from bimonn_jax.deployment.names import check_identifier, in_comment
from bimonn_jax.networks.boolean import BooleanNetwork

# Single bits widen to a sum's width, as the standard says; Verilator would warn of each.
_LINT_OFF, _LINT_ON = (f"    // verilator lint_{state} WIDTH" for state in ("off", "on"))
# (row, column) of the padding -> what stands there by border; None for a constant 0.
_SOURCES: dict[str, Callable[[int, int], int | None]] = {
    "edge": lambda i, size: min(max(i, 0), size - 1),
    "reflect": lambda i, size: -i if i < 0 else 2 * (size - 1) - i if i >= size else i,
    "wrap": lambda i, size: i % size,
    "zero": lambda i, size: i if 0 <= i < size else None,
}


@dataclass(frozen=True)
class _Image:
    """What a stage reads: wires, each with the bits of some channels, joined.

    Attributes:
      wires: the name of each, and how many channels of the image are on it.
      height: of the image.
      width: of the image.
    """

    wires: tuple[tuple[str, int], ...]
    height: int
    width: int

    def bit(self, row: int, column: int, channel: int) -> str:
        """One bit."""
        for wire, channels in self.wires:
            if channel < channels:
                return f"{wire}[{(row * self.width + column) * channels + channel}]"
            channel -= channels
        raise IndexError(f"there is no channel {channel} more on {self.wires}")

    def bits(self) -> list[str]:
        """All bits, row by row, channels innermost."""
        channels = sum(count for _, count in self.wires)
        at = product(range(self.height), range(self.width), range(channels))
        return [self.bit(*index) for index in at]

    def padded_bit(self, gates: Gates, y: int, x: int, channel: int) -> str:
        """One bit of the image with its padding."""
        of, ((top, _), (left, _)) = _SOURCES[gates.border], gates.padding
        row, column = of(y - top, self.height), of(x - left, self.width)
        if row is None or column is None:
            return "1'b0"
        return self.bit(row, column, channel)


def _gate(image: _Image, gates: Gates, gate: int, y: int, x: int) -> str:
    """One gate at one position, an expression of one bit.

    Of t literals at most t hold, and t < 2^width: a sum of that width is their number. The rank is
    at most t, so it has that width too, and both sides are compared in it.
    """
    literals, is_inverted = gates.literals_of(gate)
    is_end = gates.is_end[gate]
    # ~ would invert a bit of a sum after it was widened.
    inversion = "~" if is_end else "!"
    terms = [
        (inversion if inverted else "") + image.padded_bit(gates, y + row, x + column, channel)
        for (row, column, channel), inverted in zip(literals.tolist(), is_inverted, strict=True)
    ]
    if not is_end:
        width = len(terms).bit_length()
        holds = f"({width}'d0 + {' + '.join(terms)}) >= {width}'d{gates.ranks[gate]}"
        return f"~({holds})" if gates.complement[gate] else holds
    is_erosion = bool(gates.is_erosion[gate])
    joined = (" & " if is_erosion else " | ").join(terms) or f"1'b{int(is_erosion)}"
    return f"~({joined})" if gates.complement[gate] else joined


def _gates(gates: Gates, image: _Image, shape: Shape, target: str, put: str) -> Iterator[str]:
    yield f"    // {in_comment(gates.name)}"
    rows, columns, count = gates.shape_after(shape)
    height, width = gates.positions(shape)
    is_end = gates.is_end
    for gate in range(count):
        yield f"    // gate {gate}: {title(gates, gate)}"
        if gates.window != (1, 1):
            yield from (f"    //   {line}" for line in picture(gates, gate))
        if not is_end[gate]:
            yield _LINT_OFF
        for row, column in product(range(rows), range(columns)):
            ys = range(row * gates.pool, min((row + 1) * gates.pool, height))
            xs = range(column * gates.pool, min((column + 1) * gates.pool, width))
            values = [_gate(image, gates, gate, y, x) for y, x in product(ys, xs)]
            value = values[0] if len(values) == 1 else " | ".join(f"({v})" for v in values)
            bit = f"{target}[{(row * columns + column) * count + gate}]"
            yield put.format(bit, value)
        if not is_end[gate]:
            yield _LINT_ON


def _level_sets(stage: Thresholds, shape: Shape, target: str, put: str) -> Iterator[str]:
    channels, levels = stage.values.shape
    for index in range(math.prod(shape)):
        for k in range(levels):
            # Whole numbers compare with the ceiling.
            level = math.ceil(stage.values[index % channels, k])
            if not 0 <= level <= 255:
                raise ValueError(f"thresholds must lie in 0 to 255 for Verilog; got {level}")
            pixel = f"x[{8 * index + 7}:{8 * index}]"
            yield put.format(f"{target}[{index * levels + k}]", f"{pixel} >= 8'd{level}")


def _upsample(stage: Upsample, image: _Image, channels: int, target: str) -> Iterator[str]:
    at = product(range(stage.height), range(stage.width), range(channels))
    for index, (row, column, channel) in enumerate(at):
        bit = image.bit(row // stage.factor, column // stage.factor, channel)
        yield f"    assign {target}[{index}] = {bit};"


def _width(votes: Votes) -> int:
    """Bits of a signed number that holds every score.

    Of n features at most n vote for a class and at most n against it, so scores are of -n to n;
    n < 2^(width - 1). Sums on the way may leave that range: they wrap around at 2^width, and the
    last one is right as it does not.
    """
    return len(votes.positive).bit_length() + 1


def _votes(votes: Votes, bits: Sequence[str], width: int, put: str) -> Iterator[str]:
    yield _LINT_OFF
    for k, (positive, negative) in enumerate(zip(votes.positive.T, votes.negative.T, strict=True)):
        terms = [f" + {bits[i]}" for i in np.flatnonzero(positive).tolist()]
        terms += [f" - {bits[i]}" for i in np.flatnonzero(negative).tolist()]
        sum_of_bits = f"{width}'d0" + "".join(terms)
        yield put.format(f"scores[{width * k + width - 1}:{width * k}]", sum_of_bits)
    yield _LINT_ON


class _Module:
    """Writes the module of one circuit.

    In a pipeline each value is there after so many clock cycles; what is read together with later
    ones waits in registers until they come.
    """

    def __init__(self, circuit: Circuit, name: str, pipelined: bool) -> None:
        self.circuit, self.name, self.pipelined = circuit, name, pipelined
        self.wires = ["x"]
        self.cycles = [0]
        self.waiting: dict[tuple[int, int], str] = {}
        self.lines: list[str] = []
        size = math.prod(circuit.input_shape) * (1 if circuit.thresholds is None else 8)
        self.ports = [f"input wire [{size - 1}:0] x"]
        if pipelined:
            self.ports.insert(0, "input wire clock")

    def text(self) -> str:
        circuit = self.circuit
        for index in range(len(circuit.stages)):
            self._add(index)
        if circuit.head is None:
            self.ports.append(f"output wire [{math.prod(circuit.shapes[-1]) - 1}:0] y")
            self.lines.append(f"    assign y = {self.wires[-1]};")
        latency = self.cycles[-1] + (circuit.head is not None)
        how = f"an image a clock cycle, after {latency}" if self.pipelined else "combinational"
        ports_text = ",\n".join(f"    {port}" for port in self.ports)
        return (
            f"// {self.name}: a boolean network, {chain(circuit)}, {how}; written by bimonn_jax.\n"
            "// Bits are in the order of the image: row by row, channels innermost.\n"
            f"module {self.name} (\n{ports_text}\n);\n" + "\n".join(self.lines) + "\nendmodule\n"
        )

    def _add(self, index: int) -> None:
        """Writes one stage."""
        stage, sources = self.circuit.stages[index], self.circuit.sources[index]
        shape, after = self.circuit.shape_before(index), self.circuit.shapes[index + 1]
        cycle = max(self.cycles[value] for value in sources)
        wires = [self._at(value, cycle) for value in sources]
        image = _Image(
            tuple((w, self.circuit.shapes[v][2]) for w, v in zip(wires, sources, strict=True)),
            *shape[:2],
        )
        # How a value is put on a wire or into a register.
        put = "        {} <= {};" if self.pipelined else "    assign {} = {};"
        target = f"stage_{index}"
        match stage:
            case Votes():
                width = _width(stage)
                self.ports.append(f"output {self._kind} [{width * after[2] - 1}:0] scores")
                self.lines += self._block(_votes(stage, image.bits(), width, put))
                self.lines.insert(0, f"    // scores: {after[2]} signed numbers of {width} bits")
                return
            case Flatten() if len(wires) == 1:
                # The bits are in this order already.
                self.wires.append(wires[0])
                self.cycles.append(cycle)
                return
            case Flatten():
                wired = enumerate(image.bits())
                found: Iterator[str] = (f"    assign {target}[{i}] = {bit};" for i, bit in wired)
            case Upsample():
                found = _upsample(stage, image, shape[2], target)
            case Gates():
                found = _gates(stage, image, shape, target, put)
            case Thresholds():
                found = _level_sets(stage, shape, target, put)
            case Linear():
                raise ValueError(
                    "a real head needs floating point: train with a ternary or popcount head, "
                    "or export the layers before it"
                )
            case _:
                assert_never(stage)
        # Wires alone take no cycle.
        is_wired = isinstance(stage, Flatten | Upsample)
        kind = "wire" if is_wired else self._kind
        self.lines.append(f"    {kind} [{math.prod(after) - 1}:0] {target};")
        self.lines += list(found) if is_wired else self._block(found)
        self.wires.append(target)
        self.cycles.append(cycle + (self.pipelined and not is_wired))

    def _at(self, value: int, cycle: int) -> str:
        """The name of a value after so many cycles; it waits for those that are there later."""
        if self.cycles[value] == cycle or not self.pipelined:
            return self.wires[value]
        if (value, cycle) not in self.waiting:
            before, name = self._at(value, cycle - 1), f"{self.wires[value]}_in_{cycle}"
            size = math.prod(self.circuit.shapes[value])
            self.lines.append(f"    reg [{size - 1}:0] {name};")
            self.lines += self._block(iter([f"        {name} <= {before};"]))
            self.waiting[value, cycle] = name
        return self.waiting[value, cycle]

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
        with a latency that the file says; otherwise the module is combinational.
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

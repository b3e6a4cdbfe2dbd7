"""Boolean networks as one file of C99: no allocation, no dependencies, readable."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bimonn_jax.circuit import Circuit, Gates, Linear, Votes, circuit_of
from bimonn_jax.export import c_engine
from bimonn_jax.export.describe import chain, picture, title
from bimonn_jax.export.names import check_identifier
from bimonn_jax.files import write_text
from bimonn_jax.saving import BooleanNetwork

Mode = Literal["batch", "image"]
Pixel = Literal["uint8", "float32"]

_PIXELS = {"uint8": "uint8_t", "float32": "float"}
# Pictures of more gates than these would fill the file; larger layers get a line a gate.
_MOST_PICTURES = 64


def _numbers(values: Sequence[object], per_line: int = 16) -> str:
    texts = [str(v) for v in values]
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return ",\n    ".join(lines) or "0"


def _float(value: float) -> str:
    return f"{float(np.float32(value)).hex()}f"


class _Writer:
    """Writes the C code of one circuit."""

    def __init__(self, circuit: Circuit, name: str, mode: Mode, pixel: Pixel) -> None:
        self.circuit, self.name, self.mode, self.pixel = circuit, name, mode, pixel
        self.head = circuit.head
        self.gates = [
            (stage, shape)
            for stage, shape in zip(circuit.stages, circuit.shapes, strict=False)
            if isinstance(stage, Gates)
        ]
        self.last = f"found_{len(self.gates) - 1}" if self.gates else "input"

    def text(self) -> str:
        """The whole file."""
        return "".join(
            [
                self._heading(),
                c_engine.TYPES,
                self._input(),
                c_engine.PACK,
                *self._tables(),
                self._padding(),
                c_engine.GATES if self.gates else "",
                self._head(),
                self._workspace(),
                self._run(),
            ]
        )

    def _heading(self) -> str:
        literals = sum(len(stage.literals) for stage, _ in self.gates)
        macro = self.name.upper()
        if self.mode == "batch":
            unit = (
                f"#ifndef {macro}_LANES\n"
                f"#define {macro}_LANES 8 /* words that the processor handles at once */\n#endif\n"
                f"\n#define BITS 64\ntypedef uint64_t bits;\n"
                f"enum {{ LANES = {macro}_LANES, SAMPLES = BITS * LANES }};\n"
            )
            how = "64 samples to a word"
        else:
            unit = "#define BITS 1\ntypedef uint8_t bits;\nenum { LANES = 1, SAMPLES = 1 };\n"
            how = "one sample at a time"
        return (
            f"/* {self.name}: a boolean network of {sum(len(s) for s, _ in self.gates):,} gates on "
            f"{literals:,} literals, written by bimonn_jax.\n"
            f" *\n *   {chain(self.circuit)}\n *\n"
            f" * Computes {how}. C99, no allocation: the caller owns the workspace, one per\n"
            " * thread. Everything is read from constant tables.\n */\n\n"
            f"#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n{unit}"
        )

    def _input(self) -> str:
        height, width, channels = self.circuit.shapes[0]
        levels = self.circuit.thresholds
        values = np.ones((1, 1)) if levels is None else levels.values
        if self.pixel == "uint8":
            whole = np.ceil(values)
            if whole.max() > 255 or whole.min() < 0:
                raise ValueError(
                    "thresholds must lie in 0 to 255 for pixel='uint8'; got "
                    f"{values.min()} to {values.max()}: use pixel='float32'"
                )
            rows = [[str(int(v)) for v in row] for row in whole]
        else:
            rows = [[_float(v) for v in row] for row in values]
        table = ", ".join("{" + ", ".join(row) + "}" for row in rows)
        return (
            f"\n/* The input: {height} x {width} pixels of {channels} channels; a bit is set where "
            "a number is\n   at least its threshold. */\n"
            f"typedef {_PIXELS[self.pixel]} pixel;\n"
            f"enum {{ VALUES = {height * width * channels}, CHANNELS = {values.shape[0]}, "
            f"LEVELS = {values.shape[1]} }};\n"
            f"static const pixel thresholds[CHANNELS][LEVELS] = {{{table}}};\n"
        )

    def _tables(self) -> Iterator[str]:
        largest = 0
        tables = []
        for index, (stage, shape) in enumerate(self.gates):
            row = shape[1] + sum(stage.padding[1])
            strides = np.array([row * stage.channels, stage.channels, 1])
            largest = max(largest, int((stage.literals @ strides).max(initial=0)))
            tables.append(_table(stage, index, strides))
        if isinstance(self.head, Votes):
            largest = max(largest, len(self.head.positive))
        yield (
            "\n/* Where a literal stands, counted from the first pixel of the window. */\n"
            f"typedef {'uint16_t' if largest < 2**16 else 'uint32_t'} literal;\n"
        )
        yield from tables

    def _padding(self) -> str:
        borders = sorted({s.border for s, _ in self.gates if s.padding != ((0, 0), (0, 0))})
        sources = [
            c_engine.SOURCE.format(border=border, expression=c_engine.SOURCES[border])
            for border in borders
        ]
        return "".join(sources) + (c_engine.PAD if borders else "")

    def _head(self) -> str:
        if isinstance(self.head, Votes):
            return _vote_tables(self.head) + c_engine.VOTES
        if isinstance(self.head, Linear):
            rows = ",\n    ".join(
                "{" + ", ".join(map(_float, row)) + "}" for row in self.head.kernel
            )
            features, classes = self.head.kernel.shape
            bias = ", ".join(map(_float, self.head.bias))
            return (
                f"\nenum {{ FEATURES = {features}, CLASSES = {classes} }};\n"
                f"static const float bias[CLASSES] = {{{bias}}};\n"
                f"static const float kernel[FEATURES][CLASSES] = {{\n    {rows}}};\n"
                + c_engine.LINEAR
            )
        outputs = int(np.prod(self.circuit.shapes[-1]))
        return f"\nenum {{ OUTPUTS = {outputs} }};\n{c_engine.UNPACK}"

    def _workspace(self) -> str:
        members = ["    block input[VALUES * LEVELS];"]
        calls = []
        source = "input"
        for index, (stage, shape) in enumerate(self.gates):
            (top, bottom), (left, right) = stage.padding
            height, width, channels = shape
            row = width + left + right
            if stage.padding != ((0, 0), (0, 0)):
                size = (height + top + bottom) * row * channels
                members.append(f"    block padded_{index}[{size}];")
                calls.append(
                    f"    pad(w->{source}, {height}, {width}, {channels}, {top}, {bottom}, {left}, "
                    f"{right}, {stage.border}_source, w->padded_{index});"
                )
                source = f"padded_{index}"
            after = stage.shape_after(shape)
            members.append(f"    block found_{index}[{int(np.prod(after))}]; /* {stage.name} */")
            rows, columns = stage.positions(shape)
            calls.append(
                f"    apply_gates(w->{source}, {row}, {channels}, {rows}, {columns}, "
                f"{stage.pool}, gates_{index}, {len(stage)}, literals_{index}, w->found_{index});"
            )
            source = f"found_{index}"
        name = self.name
        body = "\n".join(calls) or "    (void)w;"
        return (
            "\ntypedef struct {\n" + "\n".join(members) + f"\n}} {name}_workspace;\n\n"
            f"size_t {name}_workspace_bytes(void)\n{{\n    return sizeof({name}_workspace);\n}}\n\n"
            f"static void run_block({name}_workspace *w)\n{{\n{body}\n}}\n"
        )

    def _run(self) -> str:
        results = {Votes: "int32_t", Linear: "float"}
        result = results.get(type(self.head), "uint8_t")
        width = "OUTPUTS" if self.head is None else "CLASSES"
        finish = "unpack" if self.head is None else "score"
        common = {"name": self.name, "last": self.last}
        meaning = "bits, 0 or 1" if self.head is None else "scores"
        parts = [
            f"\n/* count inputs of VALUES numbers -> count x {width} {meaning}. */",
            c_engine.RUN.format(
                **common, function="run", result=result, finish=finish, width=width
            ),
        ]
        if self.head is not None:
            parts += [
                "\n/* count inputs of VALUES numbers -> count classes. */",
                c_engine.RUN.format(
                    **common, function="classify", result="uint16_t", finish="choose", width="1"
                ),
            ]
        macro = self.name.upper()
        parts.append(c_engine.MAIN.format(name=self.name, macro=macro, result=result, width=width))
        return "".join(parts)


def _table(stage: Gates, index: int, strides: np.ndarray) -> str:
    """The literals of a layer, gate by gate, and where each gate's begin and end."""
    literals, gates = [], []
    end = 0
    has_pictures = len(stage) <= _MOST_PICTURES
    for g in range(len(stage)):
        must_be_set, must_be_clear, is_complement = stage.requirements(g)
        mine = np.concatenate([must_be_set, must_be_clear]) @ strides
        if has_pictures:
            lines = "".join(f"\n     *   {line}" for line in picture(stage, g))
            literals.append(f"    /* gate {g}: {title(stage, g)}{lines}\n     */")
        else:
            literals.append(f"    /* gate {g}: {title(stage, g)} */")
        if len(mine):
            literals.append(f"    {_numbers(mine.tolist())},")
        flip = "(bits)~(bits)0" if is_complement else "0"
        gates.append(f"    {{{end}, {end + len(must_be_set)}, {end + len(mine)}, {flip}}},")
        end += len(mine)
    kh, kw = stage.window
    return (
        f"\n/* {stage.name}: {len(stage)} gates on windows of {kh} x {kw} pixels. */\n"
        f"static const literal literals_{index}[] = {{\n" + "\n".join(literals) + "\n    0};\n"
        f"static const gate gates_{index}[] = {{\n" + "\n".join(gates) + "\n};\n"
    )


def _vote_tables(head: Votes) -> str:
    votes: list[int] = []
    starts, against, ends = [], [], []
    for positive, negative in zip(head.positive.T, head.negative.T, strict=True):
        starts.append(len(votes))
        votes += np.flatnonzero(positive).tolist()
        against.append(len(votes))
        votes += np.flatnonzero(negative).tolist()
        ends.append(len(votes))
    most_against = int(head.negative.sum(axis=0).max(initial=0))
    most = int((head.positive.sum(axis=0)).max(initial=0)) + most_against
    return (
        f"\nenum {{ CLASSES = {len(starts)}, DIGITS = {max(5, most.bit_length())}, "
        f"MOST_AGAINST = {most_against} }};\n\n"
        "/* Class k: features that vote for it, from votes_for[k] on, then those against it. */\n"
        f"static const literal votes[] = {{\n    {_numbers([*votes, 0])}}};\n"
        f"static const uint32_t votes_for[] = {{{_numbers(starts)}}};\n"
        f"static const uint32_t votes_against[] = {{{_numbers(against)}}};\n"
        f"static const uint32_t votes_end[] = {{{_numbers(ends)}}};\n"
    )


def export_c(
    network: BooleanNetwork,
    path: str | Path,
    input_shape: Sequence[int],
    *,
    name: str = "network",
    mode: Mode = "batch",
    pixel: Pixel = "uint8",
    overwrite: bool = False,
) -> Path:
    """Writes a boolean network as one file of C99.

    The file has ``NAME_run(inputs, count, outputs, workspace)``, for a classifier also
    ``NAME_classify``, and with ``-DNAME_MAIN`` a program that filters standard input.
    `bimonn_jax.export.c_library.compile_c` compiles and calls it.

    Args:
      network: architecture and boolean parameters.
      path: of the file.
      input_shape: of one input, (H, W, C) or (n,).
      name: prefix of the public names.
      mode: "batch" computes 64 samples to a word, for servers; "image" one sample, in bytes, with
        early exits, for small processors.
      pixel: type of the inputs, "uint8" (bits are 0 or 1) or "float32".
      overwrite: whether an existing file may be replaced.

    Returns:
      The path.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for a name that C does not take, another mode or pixel, thresholds that the pixels
        cannot reach, or a shape that the network does not take.
    """
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    return write_c(circuit, path, name=name, mode=mode, pixel=pixel, overwrite=overwrite)


def write_c(
    circuit: Circuit, path: str | Path, *, name: str, mode: Mode, pixel: Pixel, overwrite: bool
) -> Path:
    """`export_c` of a circuit."""
    check_identifier(name)
    if mode not in ("batch", "image"):
        raise ValueError(f"mode must be 'batch' or 'image'; got {mode!r}")
    if pixel not in _PIXELS:
        raise ValueError(f"pixel must be one of {sorted(_PIXELS)}; got {pixel!r}")
    return write_text(path, _Writer(circuit, name, mode, pixel).text(), overwrite=overwrite)

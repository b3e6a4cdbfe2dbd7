"""Boolean networks as one file of C99 and C++: no allocation, no dependencies, readable."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, assert_never

import numpy as np

from bimonn_jax._support.files import replacing, user_path
from bimonn_jax.deployment.c.engine import engine
from bimonn_jax.deployment.c.plan import Plan, array
from bimonn_jax.deployment.circuit import Circuit, Gates, Linear, Votes, circuit_of
from bimonn_jax.deployment.describe import chain, picture, title
from bimonn_jax.deployment.names import check_identifier, in_comment
from bimonn_jax.networks.boolean import BooleanNetwork

Mode = Literal["batch", "image"]
Pixel = Literal["uint8", "float32"]

_PIXELS = {"uint8": "uint8_t", "float32": "float"}
# Classes are numbered in uint16_t.
_MOST_CLASSES = 2**16
# Pictures of more gates than these would fill the file; larger layers get a line a gate.
_MOST_PICTURES = 64


def _numbers(values: Sequence[object], per_line: int = 16) -> str:
    texts = [str(v) for v in values]
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return ",\n    ".join(lines) or "0"


def _float(value: float) -> str:
    # Nine digits tell all float32 numbers apart; hexadecimal ones are no C++ before 2017.
    return f"{float(np.float32(value)):.8e}f"


class _Writer:
    """Writes the C code of one circuit."""

    def __init__(self, circuit: Circuit, name: str, mode: Mode, pixel: Pixel) -> None:
        self.circuit, self.name, self.pixel = circuit, name, pixel
        self.macro = name.upper()
        self.is_batch = mode == "batch"
        self.head = circuit.head
        if self.head is not None and circuit.shapes[-1][2] > _MOST_CLASSES:
            raise ValueError(
                f"classes are numbers of 16 bits in C, of {_MOST_CLASSES:,} classes at most; got "
                f"{circuit.shapes[-1][2]:,}"
            )
        self.gates = {
            index: stage for index, stage in circuit.on_bits.items() if isinstance(stage, Gates)
        }
        self.plan = Plan(circuit)

    def text(self) -> str:
        """The whole file."""
        own = {
            "HEADER": self.header(),
            "TABLES": "".join(
                [self._input(), *self._tables(), self._head_tables(), self._counter_tables()]
            ),
            "CALLS": self._compute(),
        }
        return self._heading() + engine(self.name, self._needed(), own)

    def _needed(self) -> set[str]:
        """The parts of the engine."""
        padded = {call.stage for call in self.plan.calls if call.function == "pad"}
        needed = {self.gates[index].border.upper() for index in padded}
        functions = {
            "apply_gates": "GATES",
            "apply_ranks": "RANKS",
            "pad": "PAD",
            "enlarge": "ENLARGE",
        }
        needed |= {functions[call.function] for call in self.plan.calls}
        if self.is_batch and (isinstance(self.head, Votes) or "RANKS" in needed):
            needed.add("COUNTER")
        if self.is_batch:
            needed.add("WORDS")
        match self.head:
            case None:
                needed.add("BITS")
            case Votes():
                needed |= {"VOTES", "CLASSIFY"}
            case Linear():
                needed |= {"LINEAR", "CLASSIFY"}
            case _:
                assert_never(self.head)
        return needed

    def header(self) -> str:
        """What another program needs to know, of C or of C++."""
        circuit, macro = self.circuit, self.macro
        sizes = []
        for what, shape in (("INPUT", circuit.shapes[0]), ("OUTPUT", circuit.shapes[-1])):
            named = zip(("HEIGHT", "WIDTH", "CHANNELS"), shape, strict=True)
            sizes += [f"#define {macro}_{what}_{side} {size}\n" for side, size in named]
            sizes.append(f"#define {macro}_{what}_SIZE {math.prod(shape)}\n")
        lanes = (
            f"\n#ifndef {macro}_LANES\n"
            f"#define {macro}_LANES 8 /* words that the processor handles at once */\n#endif\n"
        )
        word, count = ("uint64_t", f"{macro}_LANES") if self.is_batch else ("uint8_t", "1")
        samples = f"each of 64 x {macro}_LANES samples" if self.is_batch else "one sample"
        types = [
            f"\n/* One bit of {samples}. */",
            "typedef struct {",
            f"    {word} lane[{count}];",
            "} " + f"{self.name}_block;",
            "",
            "/* What a call works in: yours, one per thread. Nothing is kept from call to call. */",
            "typedef struct {",
            *(
                f"    {self.name}_block {array(index)}[{size}];"
                for index, size in enumerate(self.plan.sizes)
            ),
            "} " + f"{self.name}_workspace;\n",
        ]
        prototypes = "".join(
            f"\n/* count inputs of {macro}_INPUT_SIZE numbers -> {meaning}. */\n"
            f"void {self.name}_{function}(const {_PIXELS[self.pixel]} *inputs, size_t count, "
            f"{result} *outputs,\n    {self.name}_workspace *workspace);\n"
            for function, result, meaning in self.functions
        )
        return (
            f"#ifndef {macro}_H\n#define {macro}_H\n\n"
            "#include <stddef.h>\n#include <stdint.h>\n\n"
            "/* Of one input and one output: row by row, channels innermost. */\n"
            + "".join(sizes)
            + (lanes if self.is_batch else "")
            + '\n#ifdef __cplusplus\nextern "C" {\n#endif\n'
            + "\n".join(types)
            + f"\n#define {macro}_WORKSPACE_BYTES sizeof({self.name}_workspace)\n"
            + f"size_t {self.name}_workspace_bytes(void);\n"
            + prototypes
            + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
        )

    @property
    def functions(self) -> list[tuple[str, str, str]]:
        """(Name, type of the outputs, what they are) of the functions on batches."""
        size = f"count x {self.macro}_OUTPUT_SIZE"
        if self.head is None:
            return [("run", "uint8_t", f"{size} bits, 0 or 1")]
        result = "float" if isinstance(self.head, Linear) else "int32_t"
        return [
            ("run", result, f"{size} scores"),
            ("classify", "uint16_t", "count classes, the first ones with the largest score"),
        ]

    def _heading(self) -> str:
        literals = sum(len(stage.literals) for stage in self.gates.values())
        gates = sum(len(stage) for stage in self.gates.values())
        how = "64 samples to a word" if self.is_batch else "one sample at a time"
        return (
            f"/* {self.name}: a boolean network of {gates:,} gates on {literals:,} literals, "
            "written by bimonn_jax.\n"
            f" *\n *   {chain(self.circuit)}\n *\n"
            f" * Computes {how}. C99 and C++, no allocation: the caller owns the\n"
            " * workspace, one per thread. Everything is read from constant tables.\n"
            " * The declarations come first; they are also in the header beside this file.\n */\n\n"
        )

    def _input(self) -> str:
        values = np.ones((1, 1), np.float32)
        if self.circuit.thresholds is not None:
            values = self.circuit.thresholds.values
        if self.pixel == "uint8":
            # Whole numbers compare with the ceiling.
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
            "/* A bit is set where a number is at least its threshold. */\n"
            f"typedef {_PIXELS[self.pixel]} pixel;\n"
            f"enum {{ VALUES = {math.prod(self.circuit.shapes[0])}, CHANNELS = {values.shape[0]}, "
            f"LEVELS = {values.shape[1]} }};\n"
            f"static const pixel thresholds[CHANNELS][LEVELS] = {{{table}}};\n"
        )

    def _tables(self) -> Iterator[str]:
        largest = 0
        tables = []
        for index, stage in self.gates.items():
            row = self.circuit.shape_before(index)[1] + sum(stage.padding[1])
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

    @property
    def _digits(self) -> int:
        """Of the counters: see `engine.c` for why so many are right."""
        largest = [0]
        for stage in self.gates.values():
            ranks, sizes = stage.ranks[~stage.is_end], stage.sizes[~stage.is_end]
            # A digit more than what is below a rank or left above it has: it is the answer.
            largest.append(2 * int(np.maximum(ranks - 1, sizes - ranks).max(initial=0)))
        if isinstance(self.head, Votes):
            largest.append(_most(self.head.positive) + _most(self.head.negative))
        return max(3, max(largest).bit_length())

    def _head_tables(self) -> str:
        if isinstance(self.head, Votes):
            return _vote_tables(self.head, self._digits)
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
            )
        return f"\nenum {{ OUTPUTS = {math.prod(self.circuit.shapes[-1])} }};\n"

    def _counter_tables(self) -> str:
        """The digits of counters, where no head says them."""
        if isinstance(self.head, Votes) or "COUNTER" not in self._needed():
            return ""
        return f"\nenum {{ DIGITS = {self._digits} }};\n"

    def _compute(self) -> str:
        lines = [f"static const block *compute({self.name}_workspace *w)", "{"]
        stage = -1
        for call in self.plan.calls:
            if call.stage != stage and call.stage in self.gates:
                lines.append(f"    /* {in_comment(self.gates[call.stage].name)} */")
            stage = call.stage
            lines.append(f"    {call.text(self.plan.array_of)}")
        lines += [f"    return w->{array(self.plan.output)};", "}\n"]
        return "\n".join(lines)


def _table(stage: Gates, index: int, strides: np.ndarray) -> str:
    """The literals of a layer, gate by gate, and where each gate's begin and end."""
    literals, gates, ranks = [], [], []
    end = 0
    has_pictures = len(stage) <= _MOST_PICTURES
    is_end = stage.is_end
    for g in range(len(stage)):
        must_be_set, must_be_clear, needed, is_complement = stage.requirements(g)
        mine = np.concatenate([must_be_set, must_be_clear]) @ strides
        if has_pictures:
            lines = "".join(f"\n     *   {line}" for line in picture(stage, g))
            literals.append(f"    /* gate {g}: {title(stage, g)}{lines}\n     */")
        else:
            literals.append(f"    /* gate {g}: {title(stage, g)} */")
        if len(mine):
            literals.append(f"    {_numbers(mine.tolist())},")
        flip = "(bits)~(bits)0" if is_complement else "0"
        places = f"{end}, {end + len(must_be_set)}, {end + len(mine)}"
        if is_end[g]:
            gates.append(f"    {{{places}, {flip}}},")
        else:
            # Clear, until its rank is looked at.
            gates.append(f"    {{{end}, {end}, {end}, (bits)~(bits)0}},")
            ranks.append(f"    {{{g}, {places}, {needed}, {flip}}},")
        end += len(mine)
    kh, kw = stage.window
    tables = (
        f"\n/* {in_comment(stage.name)}: {len(stage)} gates on windows of {kh} x {kw} pixels. */\n"
        f"static const literal literals_{index}[] = {{\n" + "\n".join(literals) + "\n    0};\n"
        f"static const gate gates_{index}[] = {{\n" + "\n".join(gates) + "\n};\n"
    )
    if ranks:
        tables += f"static const rank_gate ranks_{index}[] = {{\n" + "\n".join(ranks) + "\n};\n"
    return tables


def _most(votes: np.ndarray) -> int:
    """The most votes that a class has."""
    return int(votes.sum(axis=0).max(initial=0))


def _vote_tables(head: Votes, digits: int) -> str:
    votes: list[int] = []
    starts, against, ends = [], [], []
    for positive, negative in zip(head.positive.T, head.negative.T, strict=True):
        starts.append(len(votes))
        votes += np.flatnonzero(positive).tolist()
        against.append(len(votes))
        votes += np.flatnonzero(negative).tolist()
        ends.append(len(votes))
    return (
        f"\nenum {{ CLASSES = {len(starts)}, DIGITS = {digits}, "
        f"MOST_AGAINST = {_most(head.negative)} }};\n\n"
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
    """Writes a boolean network as one file of C99, that is also C++, and its header.

    The file has ``NAME_run(inputs, count, outputs, workspace)``, for a classifier also
    ``NAME_classify``, and with ``-DNAME_MAIN`` a program that filters standard input. It compiles
    by itself. The header beside it, of the same name with the ending ".h", is for programs that
    call it: the functions, the workspace, the shapes of input and output.
    `bimonn_jax.deployment.compile_c` compiles and calls it.

    Level sets compare as `bimonn_jax.morphology.level_sets` does. A network on bits takes 0 and 1;
    where other numbers are given, those from 1 on count as 1.

    Args:
      network: architecture and boolean parameters.
      path: of the file.
      input_shape: of one input, (H, W, C) or (n,).
      name: prefix of the public names.
      mode: "batch" computes 64 samples to a word, for servers; "image" one sample, in bytes, with
        early exits and small stack and workspace, for small processors.
      pixel: type of the inputs, "uint8" (bits are 0 or 1) or "float32".
      overwrite: whether existing files may be replaced.

    Returns:
      The path of the C file.

    Raises:
      FileExistsError: if a file exists and ``overwrite`` is False.
      ValueError: for a name that C or C++ does not take, another mode or pixel, a path that is the
        header's, thresholds that the pixels cannot reach, more than 65,536 classes, arrays that are
        too large for C, or a shape that the network does not take.
    """
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    return write_c(circuit, path, name=name, mode=mode, pixel=pixel, overwrite=overwrite)


def write_c(
    circuit: Circuit, path: str | Path, *, name: str, mode: Mode, pixel: Pixel, overwrite: bool
) -> Path:
    """`export_c` of a circuit."""
    check_identifier(name, "C")
    if mode not in ("batch", "image"):
        raise ValueError(f"mode must be 'batch' or 'image'; got {mode!r}")
    if pixel not in _PIXELS:
        raise ValueError(f"pixel must be one of {sorted(_PIXELS)}; got {pixel!r}")
    path = user_path(path)
    header = path.with_suffix(".h")
    if header == path:
        raise ValueError(f"{path} is where the header goes: give the C file another ending")
    writer = _Writer(circuit, name, mode, pixel)
    with (
        replacing(path, overwrite=overwrite) as part,
        replacing(header, overwrite=overwrite) as part_of_header,
    ):
        part.write_text(writer.text(), "utf-8")
        part_of_header.write_text(
            f"/* Of {name}, written by bimonn_jax. */\n{writer.header()}", "utf-8"
        )
    return path

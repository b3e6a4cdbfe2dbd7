"""Gates in words and pictures, for the comments of generated code."""

from bimonn_jax.deployment.circuit import Circuit, Gates


def chain(circuit: Circuit) -> str:
    """The shapes between the stages, such as "9x7x2 -> 1x1x126 -> 1x1x5"; of a graph, a list."""
    arrow = " -> " if circuit.is_chain else ", "
    return arrow.join("x".join(map(str, shape)) for shape in circuit.shapes)


def operator_name(name: str, size: int, *, is_erosion: bool, complement: bool) -> str:
    """What an operator called ``name`` does with a footprint of so many bits, complemented or not.

    Of no bits it is "all set" or "all clear", of one a "copy" or a "complement".
    """
    if size == 0:
        return "all set" if is_erosion ^ complement else "all clear"
    if size == 1:
        return "complement" if complement else "copy"
    return f"complement of the {name}" if complement else name


def title(gates: Gates, gate: int) -> str:
    """What a gate computes: "erosion", "complement of the dilation", "hit-or-miss transform".

    A gate that reads one bit is a "copy" or a "complement".
    """
    _, inverted = gates.literals_of(gate)
    is_erosion = bool(gates.is_erosion[gate])
    if gates.window == (1, 1):
        name = "intersection" if is_erosion else "union"
    elif is_erosion and inverted.any():
        name = "hit-or-miss transform"
    else:
        name = "erosion" if is_erosion else "dilation"
    # The complement of one inverted bit is a copy.
    complement = bool(gates.complement[gate]) ^ (len(inverted) == 1 and bool(inverted[0]))
    return operator_name(name, len(inverted), is_erosion=is_erosion, complement=complement)


def picture(gates: Gates, gate: int) -> list[str]:
    """The footprint, one line a row: # for a pixel, o for its complement, + for both, . for none.

    Channels that are read stand side by side, under their numbers; windows of one pixel are a list
    of channels, ~ for complements.
    """
    literals, inverted = gates.literals_of(gate)
    if gates.window == (1, 1):
        names = [f"{'~' * int(i)}{c}" for (_, _, c), i in zip(literals, inverted, strict=True)]
        return [" ".join(names)]
    marks: dict[tuple[int, int, int], str] = {}
    for (row, column, channel), i in zip(literals.tolist(), inverted, strict=True):
        mark = "o" if i else "#"
        marks[row, column, channel] = "+" if (row, column, channel) in marks else mark
    kh, kw = gates.window
    channels = sorted({channel for _, _, channel in marks})
    lines = [
        "   ".join(
            " ".join(marks.get((row, column, channel), ".") for column in range(kw))
            for channel in channels
        )
        for row in range(kh)
    ]
    if gates.channels > 1:
        heading = "   ".join(f"channel {c}".ljust(2 * kw - 1)[: 2 * kw + 2] for c in channels)
        lines.insert(0, heading)
    return lines

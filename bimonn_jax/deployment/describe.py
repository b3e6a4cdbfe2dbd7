"""Gates in words and pictures, for the comments of generated code."""

from bimonn_jax.deployment.circuit import Circuit, Gates

HIT_OR_MISS = "hit-or-miss transform"


def chain(circuit: Circuit) -> str:
    """The shapes between the stages, such as "9x7x2 -> 1x1x126 -> 1x1x5"; of a graph, a list."""
    arrow = " -> " if circuit.is_chain else ", "
    return arrow.join("x".join(map(str, shape)) for shape in circuit.shapes)


def operator_name(
    rank: int, size: int, *, complement: bool, inverted: int = 0, slides: bool = True
) -> str:
    """What is computed by "at least ``rank`` of ``size`` bits are set", complemented or not.

    Unions and intersections are "dilation" and "erosion", over the channels of a pixel "union" and
    "intersection". What lies between these is the "median of 9", or "rank 5 of 9". Where some of
    the bits of a window are read as their complements, it is a "hit-or-miss transform", or a
    "hit-or-miss transform, 5 of 9"; a dilation stays one. Of one bit it is a "copy" or a
    "complement", a constant is "all set" or "all clear".

    Args:
      rank: how many must be set.
      size: how many are read.
      complement: whether the output is complemented.
      inverted: how many of the bits are read as their complements.
      slides: whether they are those of a window.
    """
    if not 1 <= rank <= size:
        return "all set" if (rank < 1) ^ complement else "all clear"
    if size == 1:
        return "complement" if complement ^ (inverted == 1) else "copy"
    if rank == 1:
        name = "dilation" if slides else "union"
    elif inverted and slides:
        name = HIT_OR_MISS if rank == size else f"{HIT_OR_MISS}, {rank} of {size}"
    elif rank == size:
        name = "erosion" if slides else "intersection"
    else:
        name = f"median of {size}" if 2 * rank == size + 1 else f"rank {rank} of {size}"
    return f"complement of the {name}" if complement else name


def title(gates: Gates, gate: int) -> str:
    """What a gate computes, in the words of `operator_name`."""
    _, inverted = gates.literals_of(gate)
    return operator_name(
        int(gates.ranks[gate]),
        len(inverted),
        complement=bool(gates.complement[gate]),
        inverted=int(inverted.sum()),
        slides=gates.window != (1, 1),
    )


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

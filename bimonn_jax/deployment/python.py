"""Boolean networks as a readable pipeline of SciPy's morphology."""

from collections.abc import Iterator, Sequence
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
from bimonn_jax.deployment.describe import title
from bimonn_jax.deployment.names import check_identifier, in_comment
from bimonn_jax.morphology.other_libraries import footprint_for
from bimonn_jax.morphology.windows import PAD_MODES
from bimonn_jax.networks.boolean import BooleanNetwork

_IMPORTS = """
import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion
"""

_IMPORT_OF_COUNT = "from scipy.ndimage import correlate as _correlate\n"

_LEVEL_SETS = '''

def level_sets(x, thresholds):
    """Marks where x[..., c] is at least each of thresholds[c]: in float32, or as whole numbers."""
    if x.dtype.kind == "b":
        x = x.astype(np.uint8)
    is_whole = x.dtype.kind in "iu"
    if not is_whole:
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
    levels = [
        x[..., c] >= (math.ceil(t) if is_whole else np.float32(t))
        for c, row in enumerate(thresholds)
        for t in row
    ]
    return np.stack(levels, axis=-1)
'''

_FOOTPRINT = '''

def footprint(*rows):
    """A structuring element from its picture."""
    return np.array([[mark == "#" for mark in row.split()] for row in rows])
'''

# Underscores: whatever a network may be called, it is not these.
_COUNT = '''

def _count(image, footprint, outside=0):
    """How many pixels of a footprint are set around each pixel."""
    return _correlate(image.astype(int), footprint.astype(int), mode="constant", cval=outside)
'''

_UNION = '''

def union_over_windows(x, side):
    """Marks the windows of side x side pixels in which x is set."""
    height, width, channels = x.shape
    x = np.pad(x, ((0, -height % side), (0, -width % side), (0, 0)))
    return x.reshape(-(-height // side), side, -(-width // side), side, channels).any(axis=(1, 3))
'''


def _picture(mask: np.ndarray) -> str:
    rows = (" ".join("#" if on else "." for on in row) for row in mask)
    return "footprint(" + ", ".join(f'"{row}"' for row in rows) + ")"


def _terms(gates: Gates, gate: int) -> Iterator[str]:
    """The operators on the channels, and on their complements, that a gate joins or adds up."""
    literals, inverted = gates.literals_of(gate)
    is_end = bool(gates.is_end[gate])
    # Correlations place a footprint as erosions do.
    is_erosion = bool(gates.is_erosion[gate]) or not is_end
    operator = ("binary_erosion" if is_erosion else "binary_dilation") if is_end else "_count"
    if gates.window == (1, 1) and not is_end:
        for sign in np.unique(inverted):
            channels = literals[inverted == sign, 2].tolist()
            yield f"np.sum({'~' if sign else ''}x[..., {channels}], axis=-1)"
        return
    for channel, sign in sorted(set(zip(literals[:, 2].tolist(), inverted.tolist(), strict=True))):
        image = f"{'~' if sign else ''}x[..., {channel}]"
        if gates.window == (1, 1):
            yield image
            continue
        mine = literals[(literals[:, 2] == channel) & (inverted == sign)]
        mask = np.zeros(gates.window, bool)
        mask[mine[:, 0], mine[:, 1]] = True
        picture = _picture(footprint_for("scipy", mask, is_erosion=is_erosion))
        outside = f", {'border_value' if is_end else 'outside'}=1" if sign else ""
        yield f"{operator}({image}, {picture}{outside})"


def _rank(gates: Gates, gate: int) -> Iterator[str]:
    """A gate between union and intersection, a term a line."""
    yield f"        {'~' if gates.complement[gate] else ''}("
    first, *others = _terms(gates, gate)
    yield f"            {first}"
    yield from (f"            + {term}" for term in others)
    yield f"            >= {gates.ranks[gate]}"
    yield "        ),"


def _gates(gates: Gates, shape: Shape) -> Iterator[str]:
    kh, kw = gates.window
    yield f"    # {in_comment(gates.name)}"
    same = tuple(((k - 1) // 2, k // 2) for k in gates.window)
    crop = ""
    if gates.border != "zero" or gates.padding != same:
        (top, bottom), (left, right) = gates.padding
        yield (
            f"    x = np.pad(x, (({top}, {bottom}), ({left}, {right}), (0, 0)), "
            f'mode="{PAD_MODES[gates.border]}")'
        )
        height, width = shape[0] + top + bottom, shape[1] + left + right
        crop = f"[{(kh - 1) // 2}:{height - kh // 2}, {(kw - 1) // 2}:{width - kw // 2}]"
    yield "    maps = ["
    for gate in range(len(gates)):
        yield f"        # {gate}: {title(gates, gate)}"
        is_erosion = bool(gates.is_erosion[gate])
        if not gates.is_end[gate]:
            yield from _rank(gates, gate)
            continue
        joined = (" & " if is_erosion else " | ").join(_terms(gates, gate))
        joined = joined or f"np.{'ones' if is_erosion else 'zeros'}(x.shape[:2], bool)"
        value = f"~({joined})" if gates.complement[gate] else f"({joined})"
        yield f"        {value},"
    yield f"    ]\n    x = np.stack(maps, axis=-1){crop}"
    if gates.pool > 1:
        yield f"    x = union_over_windows(x, {gates.pool})"


def _votes(votes: Votes) -> Iterator[str]:
    yield "    scores = ["
    for positive, negative in zip(votes.positive.T, votes.negative.T, strict=True):
        plus, minus = (np.flatnonzero(v).tolist() for v in (positive, negative))
        yield f"        np.sum(x[{plus}]) - np.sum(x[{minus}]),"
    yield "    ]\n    return np.array(scores, np.int32)"


def _function(circuit: Circuit, name: str) -> Iterator[str]:
    shape = ", ".join(map(str, circuit.input_shape))
    kind = "bool" if circuit.thresholds is None else "numbers"
    yield f'\n\ndef {name}(x):\n    """One input, {kind} ({shape})."""'
    if len(circuit.input_shape) == 1:
        yield "    x = x[None, None]"
    # Images that are read later, or by more than the next stage, have names of their own.
    kept = {value for i, values in enumerate(circuit.sources) if values != (i,) for value in values}
    if 0 in kept:
        yield "    image_0 = x"
    for index, (stage, values) in enumerate(zip(circuit.stages, circuit.sources, strict=True)):
        if len(values) > 1:
            yield f"    x = np.concatenate([{', '.join(f'image_{v}' for v in values)}], axis=-1)"
        elif values != (index,):
            yield f"    x = image_{values[0]}"
        match stage:
            case Gates():
                yield from _gates(stage, circuit.shape_before(index))
            case Thresholds():
                yield f"    x = level_sets(x, {stage.values.tolist()})"
            case Flatten():
                yield "    x = x.reshape(1, 1, -1)"
            case Upsample():
                repeated = f"x.repeat({stage.factor}, axis=0).repeat({stage.factor}, axis=1)"
                yield f"    x = {repeated}[:{stage.height}, :{stage.width}]"
            case Votes():
                yield "    x = x[0, 0]"
                yield from _votes(stage)
                return
            case Linear():
                raise ValueError(
                    "a real head is not morphology: train with a ternary or popcount head, or "
                    "export the layers before it"
                )
            case _:
                assert_never(stage)
        if index + 1 in kept:
            yield f"    image_{index + 1} = x"
    yield "    return x[0, 0]" if len(circuit.output_shape) == 1 else "    return x"


def export_python(
    network: BooleanNetwork,
    path: str | Path,
    input_shape: Sequence[int],
    *,
    name: str = "network",
    overwrite: bool = False,
) -> Path:
    """Writes a boolean network as a Python file that needs NumPy and SciPy, nothing of ours.

    The function ``NAME(x)`` takes one input. It is for people who want to read what was learned.

    Args:
      network: architecture and boolean parameters.
      path: of the file.
      input_shape: of one input, (H, W, C) or (n,).
      name: of the function.
      overwrite: whether an existing file may be replaced.

    Returns:
      The path.

    Raises:
      FileExistsError: if the file exists and ``overwrite`` is False.
      ValueError: for a real head, or a shape that the network does not take.
    """
    check_identifier(name, "Python")
    circuit = circuit_of(network.architecture, network.params, tuple(input_shape))
    body = "\n".join(_function(circuit, name))
    has_levels = circuit.thresholds is not None
    text = '"""A boolean network, written by bimonn_jax."""\n'
    text += ("\nimport math\n" if has_levels else "") + _IMPORTS
    text += _IMPORT_OF_COUNT if "_count(" in body else ""
    text += _LEVEL_SETS if has_levels else ""
    text += _FOOTPRINT if "footprint(" in body else ""
    text += _COUNT if "_count(" in body else ""
    text += _UNION if "union_over_windows(" in body else ""
    return write_text(path, text + body + "\n", overwrite=overwrite)

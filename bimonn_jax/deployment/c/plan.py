"""The calls that compute a circuit in C, and the arrays in which its images lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from bimonn_jax.deployment.circuit import (
    Circuit,
    Flatten,
    Gates,
    Linear,
    Thresholds,
    Upsample,
    Votes,
)

# C counts the elements of an array in an int.
_MOST_ELEMENTS = 2**31 - 1


@dataclass(frozen=True)
class Call:
    """A call of a function of the engine, that reads an image and writes one or a part of one.

    Attributes:
      function: its name.
      source: the image that it reads.
      arguments: what stands between source and target.
      target: the image that it writes.
      channel: the first channel that it writes.
      stage: whose call it is; the network's.
    """

    function: str
    source: int
    arguments: tuple[object, ...]
    target: int
    channel: int
    stage: int

    def text(self, array_of: Sequence[int]) -> str:
        """The call, of images that lie in these arrays."""
        arguments = ", ".join(map(str, self.arguments))
        offset = f" + {self.channel}" if self.channel else ""
        source, target = (array(array_of[image]) for image in (self.source, self.target))
        return f"{self.function}(w->{source}, {arguments}, w->{target}{offset});"


def array(index: int) -> str:
    """The name of an array of the workspace."""
    return f"image_{index}"


class Plan:
    """How a circuit is computed.

    Images that are not needed at the same time share an array, so that branches take memory only
    while they are waited for.

    Attributes:
      calls: in their order.
      sizes: the number of blocks of each array; the first one holds the input.
      array_of: the array in which each image lies.
      output: the array of what the network gives, or its head reads.
    """

    def __init__(self, circuit: Circuit) -> None:
        """Raises ValueError if an image has more bits than C can count."""
        self.circuit = circuit
        self.calls: list[Call] = []
        self._image_sizes: list[int] = []
        numbers = 0 if circuit.thresholds is None else 1
        # The image of each value; the input is there as bits only.
        self._images = [self._image("input", math.prod(circuit.shapes[numbers]))]
        for index in range(len(circuit.stages)):
            self._images.append(self._of_stage(index))
        self.array_of, self.sizes = self._arrays()
        self.output = self.array_of[self._images[-1]]

    def _image(self, name: str, size: int) -> int:
        if size > _MOST_ELEMENTS:
            raise ValueError(
                f"{name} has {size:,} bits, more than {_MOST_ELEMENTS:,}, which int can count "
                "in C: export the network for smaller images"
            )
        self._image_sizes.append(size)
        return len(self._image_sizes) - 1

    def _of_stage(self, index: int) -> int:
        """Adds the calls of a stage; the image of its value."""
        stage = self.circuit.stages[index]
        match stage:
            case Gates():
                return self._gates(index, stage)
            case Upsample():
                return self._enlarged(index, f"found_{index}", stage)
            case Thresholds():
                return self._images[0]
            case Flatten() | Votes() | Linear():
                # Bits are in this order already. Heads read them when all calls are done.
                return self._joined(index)
            case _:
                assert_never(stage)

    def _gates(self, index: int, stage: Gates) -> int:
        shape = self.circuit.shape_before(index)
        (top, bottom), (left, right) = stage.padding
        height, width, channels = shape
        row = width + left + right
        if stage.padding == ((0, 0), (0, 0)):
            source = self._joined(index)
        else:
            source = self._image(f"padded_{index}", (height + top + bottom) * row * channels)
            widths = top, bottom, left, right, f"{stage.border}_source"
            for image, own, first in self._sources(index):
                numbers = height, width, own, *widths, channels
                self.calls.append(Call("pad", image, numbers, source, first, index))
        found = self._image(f"found_{index}", math.prod(stage.shape_after(shape)))
        rows, columns = stage.positions(shape)
        # A larger pool has the same one window, and could overflow.
        pool = min(stage.pool, max(rows, columns))
        at, literals = (row, channels, rows, columns, pool), f"literals_{index}"
        tables = f"gates_{index}", len(stage), literals
        self.calls.append(Call("apply_gates", source, (*at, *tables), found, 0, index))
        between = int(np.count_nonzero(~stage.is_end))
        if between:
            # These are put beside the others.
            ranks = len(stage), f"ranks_{index}", between, literals
            self.calls.append(Call("apply_ranks", source, (*at, *ranks), found, 0, index))
        return found

    def _joined(self, index: int) -> int:
        """The image that a stage reads, its channels together."""
        sources = self.circuit.sources[index]
        if len(sources) == 1:
            return self._images[sources[0]]
        height, width, _ = self.circuit.shape_before(index)
        return self._enlarged(index, f"joined_{index}", Upsample(1, height, width))

    def _enlarged(self, index: int, name: str, stage: Upsample) -> int:
        shape = self.circuit.shape_before(index)
        target = self._image(name, math.prod(stage.shape_after(shape)))
        for image, own, first in self._sources(index):
            arguments = shape[1], own, stage.factor, stage.height, stage.width, shape[2]
            self.calls.append(Call("enlarge", image, arguments, target, first, index))
        return target

    def _sources(self, index: int) -> list[tuple[int, int, int]]:
        """Of each value that a stage reads: image, channels, and the first one of the joined."""
        found, first = [], 0
        for value in self.circuit.sources[index]:
            channels = self.circuit.shapes[value][2]
            found.append((self._images[value], channels, first))
            first += channels
        return found

    def _arrays(self) -> tuple[list[int], list[int]]:
        """The array of each image, and the size of each array."""
        # The calls from which and up to which each image is needed, padded and joined ones too.
        begins, ends = [-1] * len(self._image_sizes), [-1] * len(self._image_sizes)
        for number, call in reversed(list(enumerate(self.calls))):
            begins[call.target] = number
        for number, call in enumerate(self.calls):
            ends[call.source] = ends[call.target] = number
        ends[self._images[-1]] = len(self.calls)

        def are_together(one: int, other: int) -> bool:
            return begins[one] <= ends[other] and begins[other] <= ends[one]

        def shared(images: list[int]) -> list[list[int]]:
            """The images of each array, each of which goes into the first one that it can."""
            arrays: list[list[int]] = []
            for image in images:
                free = (a for a in arrays if not any(are_together(image, other) for other in a))
                into = next(free, None)
                if into is None:
                    arrays.append([image])
                else:
                    into.append(image)
            return arrays

        def sizes(arrays: list[list[int]]) -> list[int]:
            return [max(self._image_sizes[image] for image in images) for images in arrays]

        # In the order of the calls there are the fewest arrays, two of a chain; with the largest
        # first none grows. Either may be smaller.
        images = range(len(self._image_sizes))
        by_call = sorted(images, key=lambda image: begins[image])
        by_size = sorted(images, key=lambda image: -self._image_sizes[image])
        arrays = min((shared(by_call), shared(by_size)), key=lambda found: sum(sizes(found)))
        arrays.sort(key=lambda some: min(begins[image] for image in some))
        array_of = {image: number for number, some in enumerate(arrays) for image in some}
        return [array_of[image] for image in images], sizes(arrays)

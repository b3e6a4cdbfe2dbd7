"""A learned filter: a boolean network, and how images become its input and its output images."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bimonn_jax.data.image_files import Reading
from bimonn_jax.deployment.tiles import TiledNetwork
from bimonn_jax.filters.arrays import Output, gray_of
from bimonn_jax.filters.compiled import compiled_bits
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.saving import load_network, save_network


@dataclass(frozen=True, eq=False, repr=False)
class Filter:
    """A filter of images: ``filter(image)`` gives an image of the same height and width.

    Attributes:
      network: what is run, (N, H, W, C) -> bool (N, H, W, 1).
      reading: how gray levels become its input.
      output: how its bits become an image.
      name: what it is: "rank network", "median 3 x 3", ...
      scores: F-measures (DICE) on the columns that were held out of the learning: of this filter
        and of those that it was compared with, by name.
      runtime: what runs the network, (1, H, W, C) -> bool (1, H, W, 1); by default
        `bimonn_jax.deployment.TiledNetwork`.
    """

    network: BooleanNetwork
    reading: Reading
    output: Output
    name: str
    scores: Mapping[str, float] = field(default_factory=dict)
    runtime: Callable[[np.ndarray], np.ndarray] | None = None

    def __repr__(self) -> str:
        """One line."""
        of = ", ".join(self.reading.channels) if self.reading.gray else "bits"
        bits = sum(np.size(leaf) for leaf in jax.tree.leaves(self.network.params))
        score = f", F-measure {self.scores[self.name]:.3f}" if self.name in self.scores else ""
        return f"Filter({self.name} of {of}; {bits:,} parameters{score})"

    @property
    def _channels(self) -> int:
        return len(self.reading.channels) if self.reading.gray else 1

    @cached_property
    def _run(self) -> Callable[[np.ndarray], np.ndarray]:
        if self.runtime is not None:
            return self.runtime
        return TiledNetwork(self.network, (64, 64, self._channels))

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled at the first call, which cannot be copied or pickled."""
        return {name: value for name, value in vars(self).items() if name != "_run"}

    def compile(
        self, folder: str | Path, *, compiler: str = "gcc", overwrite: bool = False
    ) -> "Filter":
        """The same filter in C, on all cores: many times as fast, and compiled in about a second.

        Args:
          folder: where filter.c, filter.h and filter.so are written; made if there is none.
          compiler: a C compiler that takes gcc's options.
          overwrite: whether files that are there may be replaced.

        Raises:
          ValueError: for a network with branches or pools, or of which several layers look beyond
            the border.
          FileExistsError: if a file exists and ``overwrite`` is False.
          FileNotFoundError: if the compiler is not installed.
          RuntimeError: if the compiler fails, with its messages.
        """
        run = compiled_bits(
            self.network, self._channels, folder, compiler=compiler, overwrite=overwrite
        )
        return replace(self, runtime=run)

    def bits(self, gray: np.ndarray) -> np.ndarray:
        """The foreground that it finds, bool (H, W), in gray levels (H, W) in [0, 255]."""
        return self._run(self.reading.to_images(gray))[0, ..., 0]

    def __call__(self, image: Any) -> np.ndarray:
        """Filters an image of any size, by tiles: one program, compiled at the first call.

        Args:
          image: (H, W), or (H, W, 3) in red, green and blue: bool, uint8, uint16, or floats in
            [0, 1], read as those were that the filter learned from.

        Returns:
          (H, W), with the dtype of the targets that it learned from, black and white: 0, and the
          largest integer or 1.

        Raises:
          ValueError: for another shape or dtype, or floats that are not in [0, 1].
        """
        return self.output(self.bits(gray_of(image)))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes one file, which `load_filter` and `bimonn_jax.load_network` read.

        Raises:
          FileExistsError: if the file exists and ``overwrite`` is False.
        """
        told = {
            "reading": self.reading.to_json(),
            "output": asdict(self.output),
            "name": self.name,
            "scores": dict(self.scores),
        }
        metadata = {**self.network.metadata, **told}
        network = self.network
        save_network(
            path, network.architecture, network.params, metadata=metadata, overwrite=overwrite
        )


def load_filter(path: str | Path) -> Filter:
    """Reads a filter that `Filter.save` or `experiments.denoise` wrote.

    The latter's files do not say what the targets were: their filters give uint8, 0 and 255.

    Raises:
      ValueError: if the file holds no network, or does not say how images are read.
      FileNotFoundError: if there is none.
    """
    network = load_network(path)
    told = network.metadata
    if "reading" not in told:
        raise ValueError(
            f"{path} holds a network, but not how images are read: load it with "
            "bimonn_jax.load_network"
        )
    try:
        reading = Reading.from_json(told["reading"])
        output = Output.like(np.zeros((1, 1), np.uint8), reading.foreground)
        if "output" in told:
            output = Output.from_json(told["output"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not say properly how images are read: {error}") from error
    name = str(told.get("name", "network"))
    return Filter(network, reading, output, name, dict(told.get("scores", {})))

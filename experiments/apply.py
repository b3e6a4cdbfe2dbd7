"""Runs a saved boolean network over image files.

    python -m experiments.apply --network=out/own/network.npz --input=scans/ --output=cleaned/

Each image of the folder ``--input`` (or the one file) is read as for the training, which the
network's file tells; flags overrule it. Pictures are written under the same names to the folder
``--output``, as PNG or ``--format``, with the resolution of the image (PBM and PGM have no place
for it); the results of a classifier as classes.csv, in UTF-8. Nothing is replaced without
``--overwrite``; that is checked before anything runs, and so is that names stay different where
capitals and the encoding of accents do not count.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from bimonn_jax._support.files import printable, write_text
from bimonn_jax.data.image_files import (
    WRITTEN,
    Reading,
    check_distinct,
    image_files,
    read_gray,
    read_resolution,
    write_image,
)
from bimonn_jax.deployment.circuit import circuit_of
from bimonn_jax.deployment.packed import packed_by_shape
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.saving import load_network

from .output import say
from .program import ImageSettings, InputError, Program, option

_CLASSES = "classes.csv"


@dataclass(frozen=True, kw_only=True)
class Config(ImageSettings):
    """What to run on what."""

    network: Path = option("File of the network.")
    input: Path = option("Folder of images, or one image.")
    format: str = option(
        "Format of the pictures that are written.", "png", choices=[end[1:] for end in WRITTEN]
    )
    overwrite: bool = option("Whether results that are there may be replaced.", False)

    def sources(self) -> tuple[Path, ...]:
        """The images."""
        return (self.input,)


@dataclass(frozen=True)
class Inputs:
    """A network, the image files by stem, how they are read, and the shape of what comes out."""

    network: BooleanNetwork
    files: Mapping[str, Path]
    reading: Reading
    shape: tuple[int, ...]


def load(config: Config) -> Inputs:
    """Reads the network, and an image to see that it fits.

    Raises:
      ValueError: also if two results would be one file, see `check_distinct`.
    """
    network = load_network(config.network)
    reading = reading_of(config, network)
    if reading.gray and config.threshold is not None:
        raise ValueError("--threshold has no effect: this network reads gray levels")
    files = image_files(config.input)
    shape = output_shape(network, files.values())
    if len(shape) == 3:
        check_distinct(files.values())
    return Inputs(network, files, reading, shape)


def reading_of(config: Config, network: BooleanNetwork) -> Reading:
    """How the images are to be read: as the settings say, else as the network's file does."""
    stored = network.metadata.get("reading")
    if stored is None:
        return config.reading(Reading(gray=network.takes_numbers))
    try:
        reading = Reading.from_json(stored)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{config.network} does not say properly how images are read: {error}"
        ) from error
    return config.reading(reading)


def output_shape(network: BooleanNetwork, files: Iterable[Path]) -> tuple[int, ...]:
    """The shape of what the network gives for the first image that it can be run on."""
    error: ValueError | None = None
    for path in files:
        try:
            shape = (*read_gray(path).shape, 1)
            return circuit_of(network.architecture, network.params, shape).output_shape
        except ValueError as caught:
            error = error or ValueError(f"{path.name}: {caught}")
    assert error is not None
    raise error


def targets(config: Config, inputs: Inputs, folder: Path) -> dict[str, list[Path]]:
    """The files to write by stem.

    Raises:
      InputError: if one exists and may not be replaced.
    """
    files, shape = inputs.files, inputs.shape
    if len(shape) == 1:
        found = {stem: [folder / _CLASSES] for stem in files}
    else:
        marks = [f"_{c}" for c in range(shape[-1])] if shape[-1] > 1 else [""]
        found = {
            stem: [folder / f"{path.stem}{mark}.{config.format}" for mark in marks]
            for stem, path in files.items()
        }
    existing = sorted({path for paths in found.values() for path in paths if path.exists()})
    if existing and not config.overwrite:
        raise InputError(
            f"{existing[0]} exists ({len(existing)} of the results do): pass --overwrite, or "
            "another --output"
        )
    return found


def results(inputs: Inputs, *, may_skip: bool) -> Iterator[tuple[str, np.ndarray]]:
    """What the network gives for each image that can be read, by stem."""
    network = packed_by_shape(inputs.network)
    for stem, path in tqdm(inputs.files.items(), unit="image", disable=None):
        try:
            x = inputs.reading.to_input(read_gray(path))[None, ..., None]
            result = np.asarray(network(x))[0]
        except ValueError as error:
            if not may_skip:
                raise InputError(f"{path.name}: {error}") from error
            logging.warning("skipped %s: %s", path.name, error)
            continue
        yield stem, result


def write_classes(path: Path, classes: list[tuple[str, int]]) -> None:
    """Writes a table of files and their classes."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("file", "class"), *classes])
    # `targets` has asked already whether it may be replaced.
    write_text(path, table.getvalue(), overwrite=True)


def run(config: Config, data: Inputs, folder: Path) -> dict[str, Any]:
    """Writes what the network gives for each image; returns how many were written and skipped."""
    paths = targets(config, data, folder)
    folder.mkdir(parents=True, exist_ok=True)
    say(f"Running the network on {len(data.files)} images.")
    classes: list[tuple[str, int]] = []
    written = 0
    try:
        for stem, result in results(data, may_skip=config.on_error == "skip"):
            if result.ndim == 1:
                classes.append((printable(data.files[stem].name), int(result.argmax())))
            else:
                dots = read_resolution(data.files[stem])
                for channel, path in enumerate(paths[stem]):
                    picture = data.reading.to_picture(result[..., channel])
                    write_image(path, picture, resolution=dots, overwrite=config.overwrite)
            written += 1
    finally:
        # Also what was found before an image that cannot be read.
        if classes:
            write_classes(folder / _CLASSES, classes)
    return {"images_written": written, "images_skipped": len(data.files) - written}


main = Program(Config, run, load=load, folder="output")

if __name__ == "__main__":
    main()

"""Runs a saved boolean network over image files.

    python -m experiments.apply --network=out/own/network.npz --input=scans/ --output=cleaned/

Each image of the folder ``--input`` (or the one file; PNG, TIFF, JPEG, ...) is read as for the
training, which the network's file tells; flags overrule it. Pictures are written under the same
names to the folder ``--output``, those of folders within (``--subfolders``) to folders of the same
names. They are bilevel, with the resolution of the image: TIFFs with the pages and the compression
of a TIFF, PNGs of other images, or what ``--format`` says (PBM and PGM have no place for the
resolution, and only TIFFs one for several pages). The results of a classifier are written as
classes.csv, in UTF-8. Nothing is replaced without ``--overwrite``; that is checked before anything
runs, and so is that names stay different where capitals and the encoding of accents do not count.

Images run in tiles, by one program for all their sizes and in bounded memory; every pixel is that
of the whole image.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from bimonn_jax._support.files import printable, write_text
from bimonn_jax.data.image_files import WRITTEN, Picture, Reading, read_pages, writing_pages
from bimonn_jax.data.image_folders import check_distinct, image_files
from bimonn_jax.deployment.circuit import Circuit, circuit_of
from bimonn_jax.deployment.packed import packed_by_shape
from bimonn_jax.deployment.tiles import TiledNetwork
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
    format: str | None = option(
        "Format of the pictures that are written; by default TIFF for TIFF, PNG for others.",
        None,
        choices=[end[1:] for end in WRITTEN],
    )
    tile: int | None = option(
        "Side of the tiles; chosen by default. 0: whole images, with a program for each size.",
        None,
        at_least=0,
    )
    overwrite: bool = option("Whether results that are there may be replaced.", False)

    def sources(self) -> tuple[Path, ...]:
        """The images."""
        return (self.input,)


@dataclass(frozen=True)
class Inputs:
    """What to run on what.

    Attributes:
      run: the network, as a function of batches of any sizes.
      files: the image files by name.
      pages: reads the pages of a file.
      reading: how gray levels become what the network reads.
      shape: of what it gives for an image.
    """

    run: Callable[[np.ndarray], Any]
    files: Mapping[str, Path]
    pages: Callable[[Path], Iterator[Picture]]
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
    files = image_files(config.input, subfolders=config.subfolders)
    files = {name: path for name, path in files.items() if name.endswith(config.input_suffix)}
    if not files:
        raise ValueError(f"no name of an image in {config.input} ends in {config.input_suffix!r}")
    pages = partial(read_pages, max_pixels=config.max_pixels)
    circuit = first_circuit(network, files.values(), pages, reading)
    if len(circuit.output_shape) == 3:
        check_distinct(files)
    run = runtime(network, circuit.input_shape, config.tile)
    return Inputs(run, files, pages, reading, circuit.output_shape)


def runtime(
    network: BooleanNetwork, shape: tuple[int, ...], tile: int | None
) -> Callable[[np.ndarray], Any]:
    """The network by tiles, or on whole images where these are wanted or needed."""
    if tile != 0:
        try:
            return TiledNetwork(network, shape, tile=tile)
        except ValueError as error:
            if tile is not None:
                raise ValueError(f"--tile={tile}: {error}") from error
    return packed_by_shape(network)


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


def first_circuit(
    network: BooleanNetwork,
    files: Iterable[Path],
    pages: Callable[[Path], Iterator[Picture]],
    reading: Reading,
) -> Circuit:
    """The network's circuit for the first image that it can be run on."""
    error: ValueError | None = None
    for path in files:
        try:
            shape = reading.to_images(next(pages(path)).pixels).shape[1:]
            return circuit_of(network.architecture, network.params, shape)
        except ValueError as caught:
            error = error or ValueError(f"{path.name}: {caught}")
    assert error is not None
    raise error


def targets(config: Config, inputs: Inputs, folder: Path) -> dict[str, list[Path]]:
    """The files to write by name.

    Raises:
      InputError: if one exists and may not be replaced.
    """
    files, shape = inputs.files, inputs.shape
    if len(shape) == 1:
        found = {name: [folder / _CLASSES] for name in files}
    else:
        marks = [f"_{c}" for c in range(shape[-1])] if shape[-1] > 1 else [""]
        found = {}
        for name, path in files.items():
            # The folders within; the names of files as they are encoded.
            start = folder.joinpath(*name.split("/")[:-1]) / path.stem
            is_tiff = path.suffix.lower() in (".tif", ".tiff")
            ending = path.suffix if is_tiff else ".png"
            ending = ending if config.format is None else f".{config.format}"
            found[name] = [start.with_name(f"{start.name}{mark}{ending}") for mark in marks]
    existing = sorted({path for paths in found.values() for path in paths if path.exists()})
    if existing and not config.overwrite:
        raise InputError(
            f"{existing[0]} exists ({len(existing)} of the results do): pass --overwrite, or "
            "another --output"
        )
    return found


def results(inputs: Inputs, path: Path) -> Iterator[tuple[Picture, np.ndarray]]:
    """The pages of a file and what the network gives for each."""
    for page in inputs.pages(path):
        yield page, np.asarray(inputs.run(inputs.reading.to_images(page.pixels)))[0]


def classify(inputs: Inputs, name: str) -> list[tuple[str, int]]:
    """The file's name and the class of each page of one of the files."""
    path = inputs.files[name]
    classes = [int(scores.argmax()) for _, scores in results(inputs, path)]
    name = printable("/".join([*name.split("/")[:-1], path.name]))
    names = [f"{name}, page {n}" for n in range(1, len(classes) + 1)] if classes[1:] else [name]
    return list(zip(names, classes, strict=True))


def clean(inputs: Inputs, path: Path, written: Iterable[Path], *, overwrite: bool) -> None:
    """Writes what the network gives for each page of a file, a picture for each channel."""
    with ExitStack() as stack:
        writers = []
        for target in written:
            target.parent.mkdir(parents=True, exist_ok=True)
            writers.append(stack.enter_context(writing_pages(target, overwrite=overwrite)))
        for page, result in results(inputs, path):
            for channel, write in enumerate(writers):
                bits = inputs.reading.to_picture(result[..., channel])
                write(replace(page, pixels=bits))


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
        for name, path in tqdm(data.files.items(), unit="image", disable=None):
            try:
                if len(data.shape) == 1:
                    classes += classify(data, name)
                else:
                    clean(data, path, paths[name], overwrite=config.overwrite)
            except ValueError as error:
                if config.on_error == "stop":
                    raise InputError(f"{path.name}: {error}") from error
                logging.warning("skipped %s: %s", path.name, error)
                continue
            written += 1
    finally:
        # Also what was found before an image that cannot be read.
        if classes:
            write_classes(folder / _CLASSES, classes)
    return {"images_written": written, "images_skipped": len(data.files) - written}


main = Program(Config, run, load=load, folder="output")

if __name__ == "__main__":
    main()

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
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from tqdm import tqdm

from bimonn_jax._support.files import printable, user_path, write_text
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
from experiments.console import allow_any_name
from experiments.image_flags import ON_ERROR, THRESHOLD, reading_of_flags
from experiments.overwriting import OVERWRITE

NETWORK = flags.DEFINE_string("network", None, "File of the network.", required=True)
INPUT = flags.DEFINE_string("input", None, "Folder of images, or one image.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.", required=True)
FORMAT = flags.DEFINE_enum(
    "format", "png", [suffix[1:] for suffix in WRITTEN], "Of the pictures that are written."
)

_CLASSES = "classes.csv"


def reading_of(network: BooleanNetwork) -> Reading:
    """How the images are to be read: as the flags say, else as the network's file does."""
    stored = network.metadata.get("reading")
    if stored is None:
        return reading_of_flags(Reading(gray=network.takes_numbers))
    try:
        reading = Reading.from_json(stored)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{NETWORK.value} does not say properly how images are read: {error}"
        ) from error
    return reading_of_flags(reading)


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


def targets(
    folder: Path, files: Mapping[str, Path], shape: tuple[int, ...]
) -> dict[str, list[Path]]:
    """The files to write by stem.

    Raises:
      UsageError: if one exists and may not be replaced.
      ValueError: if two would be one, see `check_distinct`.
    """
    if len(shape) == 3:
        check_distinct(files.values())
    channels = shape[-1]
    endings = [f"_{c}.{FORMAT.value}" for c in range(channels)]
    if channels == 1:
        endings = [f".{FORMAT.value}"]
    found = {
        stem: [folder / f"{path.stem}{ending}" for ending in endings]
        for stem, path in files.items()
    }
    if len(shape) == 1:
        found = {stem: [folder / _CLASSES] for stem in found}
    written = [path for paths in found.values() for path in paths]
    existing = sorted({path for path in written if path.exists()})
    if existing and not OVERWRITE.value:
        raise app.UsageError(
            f"{existing[0]} exists ({len(existing)} of the results do): pass --overwrite, or "
            "another --output"
        )
    return found


def results(
    network: BooleanNetwork, reading: Reading, files: Mapping[str, Path]
) -> Iterator[tuple[str, np.ndarray]]:
    """What the network gives for each image that can be read, by stem."""
    run = packed_by_shape(network)
    for stem, path in tqdm(files.items(), unit="image"):
        try:
            x = reading.to_input(read_gray(path))[None, ..., None]
            result = np.asarray(run(x))[0]
        except ValueError as error:
            if ON_ERROR.value == "stop":
                raise ValueError(f"{path.name}: {error}") from error
            logging.warning("skipped %s: %s", path.name, error)
            continue
        yield stem, result


def write_classes(path: Path, classes: list[tuple[str, int]]) -> None:
    """Writes a table of files and their classes."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("file", "class"), *classes])
    write_text(path, table.getvalue(), overwrite=OVERWRITE.value)


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    allow_any_name()
    network = load_network(NETWORK.value)
    reading = reading_of(network)
    if reading.gray and THRESHOLD.value is not None:
        raise app.UsageError("--threshold has no effect: this network reads gray levels")
    files = image_files(INPUT.value)
    folder = user_path(OUTPUT.value)
    if folder.resolve() in {path.resolve().parent for path in files.values()}:
        raise app.UsageError(f"--output={folder} holds the input images: choose another folder")
    shape = output_shape(network, files.values())
    paths = targets(folder, files, shape)
    folder.mkdir(parents=True, exist_ok=True)
    classes: list[tuple[str, int]] = []
    written = 0
    try:
        for stem, result in results(network, reading, files):
            if result.ndim == 1:
                classes.append((printable(files[stem].name), int(result.argmax())))
            else:
                dots = read_resolution(files[stem])
                for channel, path in enumerate(paths[stem]):
                    picture = reading.to_picture(result[..., channel])
                    write_image(path, picture, resolution=dots, overwrite=OVERWRITE.value)
            written += 1
    finally:
        # Also what was found before an image that cannot be read.
        if classes:
            write_classes(folder / _CLASSES, classes)
    print(f"{written} images written to {folder}, {len(files) - written} skipped")


if __name__ == "__main__":
    app.run(main)

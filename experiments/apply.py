"""Runs a saved boolean network over image files.

    python -m experiments.apply --network=out/own/network.npz --input=scans/ --output=cleaned/

Each image of the folder ``--input`` (or the one file) is read as for the training, which the
network's file tells; flags overrule it. Pictures are written under the same names to the folder
``--output``, as PNG or ``--format``; the results of a classifier as classes.csv. Nothing is
replaced without ``--overwrite``; that is checked before anything runs.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from tqdm import tqdm

from bimonn_jax.circuit import circuit_of
from bimonn_jax.data.image_files import SUFFIXES, Reading, image_files, read_gray, write_image
from bimonn_jax.files import write_text
from bimonn_jax.packed import PackedNetwork
from bimonn_jax.saving import BooleanNetwork, load_network
from experiments.image_flags import ON_ERROR, reading_of_flags
from experiments.output import OVERWRITE

NETWORK = flags.DEFINE_string("network", None, "File of the network.", required=True)
INPUT = flags.DEFINE_string("input", None, "Folder of images, or one image.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.", required=True)
FORMAT = flags.DEFINE_enum(
    "format", "png", [suffix[1:] for suffix in SUFFIXES], "Of the pictures that are written."
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


def is_classifier(network: BooleanNetwork, files: Iterable[Path]) -> bool:
    """Whether the network gives classes, not pictures, judged by the first image it can read."""
    for path in files:
        try:
            shape = (*read_gray(path).shape, 1)
            return len(circuit_of(network.architecture, network.params, shape).output_shape) == 1
        except ValueError:
            continue
    return False


def targets(folder: Path, stems: Iterable[str], classifies: bool) -> dict[str, Path]:
    """The files to write by stem; raises UsageError where one exists and may not be replaced."""
    names = {stem: _CLASSES if classifies else f"{stem}.{FORMAT.value}" for stem in stems}
    found = {stem: folder / name for stem, name in names.items()}
    existing = sorted({path for path in found.values() if path.exists()})
    if existing and not OVERWRITE.value:
        raise app.UsageError(
            f"{existing[0]} exists ({len(existing)} of the results do): pass --overwrite, or "
            "another --output"
        )
    return found


def write_channels(path: Path, image: np.ndarray, reading: Reading) -> None:
    """Writes a picture for each channel of bool (H, W, C), numbered where there are several."""
    for channel in range(image.shape[-1]):
        numbered = path.with_stem(f"{path.stem}_{channel}") if image.shape[-1] > 1 else path
        write_image(numbered, reading.to_picture(image[..., channel]), overwrite=OVERWRITE.value)


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    network = load_network(NETWORK.value)
    reading = reading_of(network)
    files = image_files(INPUT.value)
    folder = Path(OUTPUT.value)
    if folder.resolve() in {path.resolve().parent for path in files.values()}:
        raise app.UsageError(f"--output={folder} holds the input images: choose another folder")
    classifies = is_classifier(network, files.values())
    paths = targets(folder, files, classifies)
    folder.mkdir(parents=True, exist_ok=True)
    networks: dict[tuple[int, int], PackedNetwork] = {}
    classes, skipped = [], 0
    for stem, path in tqdm(files.items(), unit="image"):
        try:
            gray = read_gray(path)
            # Compiled once for each size of image.
            if gray.shape not in networks:
                networks[gray.shape] = PackedNetwork(network, (*gray.shape, 1))
        except ValueError as error:
            if ON_ERROR.value == "stop":
                raise ValueError(f"{path.name}: {error}") from error
            logging.warning("skipped %s: %s", path.name, error)
            skipped += 1
            continue
        result = np.asarray(networks[gray.shape](reading.to_input(gray)[None, ..., None]))[0]
        if classifies:
            classes.append((path.name, int(result.argmax())))
        else:
            write_channels(paths[stem], result, reading)
    if classifies:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("file", "class"), *classes])
        write_text(folder / _CLASSES, table.getvalue(), overwrite=OVERWRITE.value)
    print(f"{len(files) - skipped} images written to {folder}, {skipped} skipped")


if __name__ == "__main__":
    app.run(main)

"""What the programs share: the results folder, the progress bar, events for TensorBoard."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags, logging
from tensorboardX import SummaryWriter
from tqdm import tqdm

from bimonn_jax._support.files import user_path, write_text
from experiments.console import allow_any_name
from experiments.overwriting import OVERWRITE

__all__ = [
    "OUT_DIR",
    "OVERWRITE",
    "Callback",
    "events",
    "prepare",
    "progress",
    "watch",
    "write_json",
]

Callback = Callable[[dict[str, float]], None]

OUT_DIR = flags.DEFINE_string("out_dir", "", "Folder for the results; made if needed.")


def prepare(folder: str | Path, result: str | None = None, *, overwrite: bool = False) -> Path:
    """Makes the results folder and checks that it can be written, before anything is computed.

    Args:
      folder: where results go.
      result: name of the file whose presence means that there are results already; None for a
        program that goes on with what is there.
      overwrite: whether they, and a report of any program, may be replaced. TensorBoard events of
        the old run are then removed, or its curves would be drawn into the new ones.

    Raises:
      ValueError: if no folder is named, it cannot be written, or it holds results and
        ``overwrite`` is False.
    """
    if not folder:
        raise ValueError("--out_dir is needed: name a folder for the results")
    folder = user_path(folder)
    allow_any_name()
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file it writes.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out_dir={folder} cannot be written ({error}): choose another folder"
        ) from error
    if result is None:
        return folder
    for name in (result, "report.html"):
        if (folder / name).exists() and not overwrite:
            raise ValueError(
                f"--out_dir={folder} holds {name} already: pass --overwrite, or another folder"
            )
    if (folder / result).exists():
        shutil.rmtree(folder / "events", ignore_errors=True)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Writes JSON; what was there is replaced at once, or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n", overwrite=True)


def progress(steps: int, title: str) -> Callback:
    """A progress bar as a callback of `bimonn_jax.fit`."""
    bar = tqdm(total=steps, desc=title, unit="step")

    def show(row: dict[str, float]) -> None:
        if row["step"] < bar.n:
            bar.reset()
        bar.update(row["step"] - bar.n)
        # What is said of single layers, NAME/LAYER, is for the curves.
        shown = {n: f"{value:.4f}" for n, value in row.items() if n != "step" and "/" not in n}
        bar.set_postfix(shown)

    return show


def events(folder: Path) -> Callback:
    """TensorBoard event files in a folder as a callback: the numbers of a row, at its "step"."""
    writer = SummaryWriter(str(folder))

    def write(row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return write


def watch(folder: Path, steps: int, title: str) -> Callback:
    """`progress` and `events`."""
    show, write = progress(steps, title), events(folder)

    def both(row: dict[str, float]) -> None:
        show(row)
        write(row)

    return both

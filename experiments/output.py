"""What a run tells while it goes on: progress, and events for TensorBoard."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

Callback = Callable[[dict[str, float]], None]


def say(text: str) -> None:
    """Prints what goes on now, beside the results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(steps: int, title: str) -> Iterator[Callback]:
    """A progress bar as a callback of `bimonn_jax.fit`; lines where there is no terminal."""
    with tqdm(total=steps, desc=title, unit="step", disable=None) as bar:

        def show(row: dict[str, float]) -> None:
            # What is said of single layers, NAME/LAYER, is for the curves.
            shown = {n: f"{value:.4f}" for n, value in row.items() if n != "step" and "/" not in n}
            if bar.disable:
                numbers = "".join(f", {name}={value}" for name, value in shown.items())
                say(f"{title}: {row['step']:.0f} of {steps} steps{numbers}")
                return
            if row["step"] < bar.n:
                bar.reset()
            bar.update(row["step"] - bar.n)
            bar.set_postfix(shown)

        yield show


@contextmanager
def events(folder: Path) -> Iterator[Callback]:
    """TensorBoard event files in a folder as a callback: the numbers of a row, at its "step"."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def write(row: dict[str, float]) -> None:
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, int(row["step"]))
            writer.flush()

        yield write


@contextmanager
def watch(folder: Path, steps: int, title: str) -> Iterator[Callback]:
    """`progress` and `events`."""
    with progress(steps, title) as show, events(folder) as write:

        def both(row: dict[str, float]) -> None:
            show(row)
            write(row)

        yield both

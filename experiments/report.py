"""What a run found, for people: printed, and as one HTML file that needs nothing beside it."""

import base64
import io
import json
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from bimonn_jax._support.files import printable, write_bytes, write_text
from bimonn_jax.deployment.circuit import Gates, circuit_of
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.viz import plot_network, plot_stages
from bimonn_jax.viz.words import F_MEASURE

from .timing import device_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .program import Settings

_PACKAGES = ("bimonn-jax", "jax", "jaxlib", "flax", "optax", "numpy")
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
# Names in metrics.json whose words say too little; of others, blanks take the place of underscores.
_WORDS = {
    "activated": "share of neurons that are exactly an operator",
    "activated_share": "share of neurons that are exactly an operator",
    "best_handmade": "best hand-made filter",
    "bits": "bits of the boolean network",
    "bits_as_trained": "bits before the simplification",
    "channels_used": "channels that the last union reads",
    "dice_best_handmade": f"{F_MEASURE} of the best hand-made filter",
    "dice_boolean": f"{F_MEASURE} of the boolean network",
    "dice_boolean_unpruned": f"{F_MEASURE} of the boolean network, unpruned",
    "dice_float": f"{F_MEASURE} of the network before binarization",
    "dice_handmade_chosen_on_test": f"{F_MEASURE} of the best hand-made filter on these images",
    "dice_median_3x3": f"{F_MEASURE} of the 3 x 3 median",
    "dice_noisy": f"{F_MEASURE} of the input as it is",
    "dice_target_operator": f"{F_MEASURE} of the operator that is to be learned",
    "exact": "boolean network equals the learned one, proven",
    "features": "features that the head reads",
    "file_bytes": "bytes of the file of the boolean network",
    "first_break": "where the proof ends first",
    "footprint_recovered": "footprint found",
    "held_out": f"{F_MEASURE} on columns held out of the learning",
    "live_share": "share of neurons that are not constant",
    "method": "method of binarization",
    "pairs": "images",
    "pruning_validation_dice": f"{F_MEASURE} on validation images before and after the pruning",
    "seed": "seed of everything random",
    "steps": "steps of learning",
    "sticks_recovered": "target sticks found, of three",
    "taken": "what was taken, as the best of these",
    "test_error_baseline": "test error of the plain network, %",
    "test_error_boolean": "test error of the boolean network, %",
    "test_error_float": "test error before binarization, %",
    "train_seconds": "seconds of learning",
    "validation_error": "error on validation images, %",
    "validation_error_by_method": "error on validation images by method of binarization, %",
}
# Stages of more neurons are not drawn whole, nor are those of so few hidden.
_MOST, _FEW = 64, 8
_PIXELS_AN_INCH = 112

Figures = Mapping[str, tuple[str, "Figure"]]
Table = Sequence[Mapping[str, Any]]


def words(name: str) -> str:
    """What a name in metrics.json means."""
    return _WORDS.get(name, name.replace("_", " "))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    return str(value)


def _columns(table: Table) -> list[str]:
    """The names that are something in some row."""
    return list(dict.fromkeys(n for row in table for n, value in row.items() if value is not None))


def table_text(table: Table) -> str:
    """Rows as lines of aligned columns, below their names."""
    columns = _columns(table)
    titles = [name.replace("_", " ") for name in columns]
    lines = [titles, *([_cell(row.get(name)) for name in columns] for row in table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def print_results(found: Mapping[str, Any]) -> None:
    """Prints what a run found: lists of rows as tables, other things as names and values."""
    for name, value in found.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            print(table_text(value), end="\n\n")
        elif value is not None:
            print(f"{words(name)}: {_cell(value)}")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON; what was there is replaced at once, or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n", overwrite=True)


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in _PACKAGES}
    return {"Python": platform.python_version(), **found}


def without_password(text: str) -> str:
    """The text with *** in place of the password of a URL, as of a database."""
    return re.sub(r"(://[^:/@\s]+:)[^@\s]+@", r"\1***@", text)


def _write_picture(path: Path, figure: "Figure") -> tuple[str, int]:
    """Draws a figure once, for its file and as a data URL.

    Returns:
      The URL, and the width in pixels at which letters of all pictures are as large as text.
    """
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_bytes(path, data.getvalue(), overwrite=True)
    url = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    return url, round(_PIXELS_AN_INCH * figure.get_figwidth())


def _write_pictures(folder: Path, figures: Figures) -> dict[str, tuple[str, str, int]]:
    """Captions, data URLs and widths by name."""
    return {
        name: (caption, *_write_picture(folder / f"{name}.png", figure))
        for name, (caption, figure) in figures.items()
    }


def everything(network: BooleanNetwork, x: Any) -> dict[str, tuple[str, "Figure"]]:
    """Pictures of all neurons on an example, (1, H, W, C) or (1, n), to be folded away.

    None where the usual ones show all of them, or where they are too many to be drawn.
    """
    circuit = circuit_of(network.architecture, network.params, x.shape[1:])
    most = max((len(stage) for stage in circuit.stages if isinstance(stage, Gates)), default=0)
    if not _FEW < most <= _MOST:
        return {}
    drawn = {
        "network_all": (
            f"The whole network: all {most} neurons of its largest layer.",
            plot_network(network, x.shape[1:], x=x, max_neurons=None),
        )
    }
    if x.ndim == 4:
        found = plot_stages(network, x[0], max_neurons=None)
        drawn["stages_all"] = ("The example after each of them.", found)
    return drawn


def write_report(
    folder: Path,
    title: str,
    config: "Settings",
    *,
    table: Table,
    figures: Figures,
    folded: Figures | None = None,
    certificate: object | None = None,
    layers: Any = None,
) -> None:
    """Writes report.html, and each of its figures as NAME.png, into the folder of a run.

    Args:
      folder: of the results; what is there is replaced: the results themselves guard against that.
      title: what was run.
      config: its settings.
      table: rows of results with the same columns; one row is shown as names and values, without
        those that are None.
      figures: captions and figures by the names of their files.
      folded: those that are shown when they are asked for.
      certificate: what was proven, printed as text.
      layers: a `bimonn_jax.binarization.Summary`.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    columns = _columns(table)
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        command=without_password(config.command(folder)),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{device_name()}, {platform.platform()}, {jax.device_count()} device(s)",
        versions=_versions(),
        flags=[without_password(flag) for flag in config.as_flags()],
        columns=[words(name) for name in columns],
        rows=[[_cell(row.get(name)) for name in columns] for row in table],
        figures=_write_pictures(folder, figures),
        folded=_write_pictures(folder, folded or {}),
        certificate="" if certificate is None else str(certificate),
        layers="" if layers is None else layers._repr_html_(),
    )
    write_text(folder / "report.html", printable(text), overwrite=True)

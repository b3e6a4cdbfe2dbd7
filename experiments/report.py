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

from .timing import device_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .program import Settings

_PACKAGES = ("bimonn-jax", "jax", "jaxlib", "flax", "optax", "numpy")
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
# Names in metrics.json whose words say too little; of others, blanks take the place of underscores.
_WORDS = {
    "activated_share": "share of neurons that are activated",
    "best_handmade": "best hand-made filter",
    "bits_as_trained": "bits before the simplification",
    "channels_used": "channels that the last union reads",
    "dice_best_handmade": "DICE of the best hand-made filter",
    "dice_boolean": "DICE of the boolean network",
    "dice_boolean_unpruned": "DICE of the boolean network, unpruned",
    "dice_float": "DICE of the network before binarization",
    "dice_handmade_chosen_on_test": "DICE of the hand-made filter that the test images choose",
    "dice_median_3x3": "DICE of the 3 x 3 median",
    "dice_noisy": "DICE of the input as it is",
    "dice_target_operator": "DICE of the operator that is to be learned",
    "exact": "boolean network equals the learned one",
    "features": "features that the head reads",
    "first_break": "where the proof ends first",
    "footprint_recovered": "footprint found",
    "live_share": "share of neurons that are not constant",
    "method": "method of binarization",
    "pruning_validation_dice": "validation DICE before and after the pruning",
    "sticks_recovered": "target sticks found, of three",
    "test_error_baseline": "test error of the plain network, %",
    "test_error_boolean": "test error of the boolean network, %",
    "test_error_float": "test error before binarization, %",
    "train_seconds": "seconds of learning",
    "validation_error_by_method": "validation error by method of binarization, %",
}

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


def _write_picture(path: Path, figure: "Figure") -> str:
    """Draws a figure once, for its file and as the data URL that is returned."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_bytes(path, data.getvalue(), overwrite=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def write_report(
    folder: Path,
    title: str,
    config: "Settings",
    *,
    table: Table,
    figures: Mapping[str, tuple[str, "Figure"]],
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
        columns=[words(n) if len(table) == 1 else n.replace("_", " ") for n in columns],
        rows=[[_cell(row.get(name)) for name in columns] for row in table],
        figures={
            caption: _write_picture(folder / f"{name}.png", figure)
            for name, (caption, figure) in figures.items()
        },
        certificate="" if certificate is None else str(certificate),
        layers="" if layers is None else layers._repr_html_(),
    )
    write_text(folder / "report.html", printable(text), overwrite=True)

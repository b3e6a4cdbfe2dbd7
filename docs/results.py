"""Writes the generated tables of docs/results/ from what the programs wrote.

    python docs/results.py sticks seeds out/seed*/metrics.json

replaces what stands in docs/results/sticks.md between ``<!-- generated: seeds -->`` and
``<!-- end -->``: where the runs come from, what all of them share, a row for each, and, if they
differ in their seeds, the median and the spread. Whatever a program writes is tabulated: the
figures of a run and its lists of rows. What it says of itself, ``run``, has the commit, the machine
and the command; several commands are not repeated, as the page has them.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_UNKNOWN = "not recorded"
Row = Mapping[str, Any]


def tables_of(content: Row) -> dict[str, list[Row]]:
    """The tables of a file of results by their names; "" is that of the run itself."""
    tables = {
        name: value
        for name, value in content.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    rest = {n: value for n, value in content.items() if n not in tables and n != "run"}
    return ({"": [rest]} if rest else {}) | tables


def origin(run: Mapping[str, str | None]) -> str:
    """A sentence on where a run comes from."""
    commit, machine = (run.get(name) or _UNKNOWN for name in ("commit", "machine"))
    number, comma, changes = commit.partition(",")
    commit = commit if commit == _UNKNOWN else f"`{number}`{comma}{changes}"
    command = f" By `{run['command']}`." if "command" in run else ""
    return f"Commit: {commit}. Machine: {machine}.{command}"


def origins(contents: Sequence[Row]) -> str:
    """Where the runs of some files come from, a line for each; of one the command, too."""
    runs = [dict(content.get("run", {})) for content in contents]
    if len(runs) > 1:
        for run in runs:
            run.pop("command", None)
    return "\n".join(dict.fromkeys(map(origin, runs)))


def cell(value: Any) -> str:
    """A value as a page shows it."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        # Four digits, those of whole numbers in any case.
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {cell(one)}" for name, one in value.items())
    return str(value).replace("|", r"\|")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def table(rows: Sequence[Row]) -> str:
    """What all rows share as a sentence, then the rows; median and spread of equal settings."""
    names = [n for n in dict.fromkeys(n for row in rows for n in row)]
    names = [n for n in names if any(row.get(n) is not None for row in rows)]
    shared = [n for n in names if len({cell(row.get(n)) for row in rows}) == 1]
    columns = names if len(rows) == 1 else [n for n in names if n not in shared]
    lines = [_line([n.replace("_", " ") for n in columns]), "|---" * len(columns) + "|"]
    lines += [_line([cell(row.get(n)) for n in columns]) for row in rows]
    numbers = [n for n in columns if all(_is_number(row.get(n)) for row in rows)]
    if len(rows) > 2 and len({row.get("seed") for row in rows}) == len(rows):
        lines += [_summary(rows, columns, numbers)]
    if len(rows) == 1 or not shared:
        return "\n".join(lines)
    same = "; ".join(f"{n.replace('_', ' ')} {cell(rows[0][n])}" for n in shared)
    return f"The same in all: {same}.\n\n" + "\n".join(lines)


def _summary(rows: Sequence[Row], columns: Sequence[str], numbers: Sequence[str]) -> str:
    cells = []
    for name in columns:
        values = [row[name] for row in rows] if name in numbers and name != "seed" else []
        spread = "median" if name == "seed" else ""
        if values:
            ends = f"{cell(min(values))} to {cell(max(values))}"
            middle = statistics.median(values)
            shown = f"{middle:g}" if all(isinstance(v, int) for v in values) else cell(middle)
            spread = f"**{shown}** ({ends})"
        cells.append(spread)
    return _line(cells)


def replace_block(text: str, block: str, content: str) -> str:
    """A page with other content between the comments of a block; SystemExit if it has none."""
    start, end = f"<!-- generated: {block} -->", "<!-- end -->"
    if start not in text or end not in text.partition(start)[2]:
        raise SystemExit(f"the page has no lines {start} and {end}")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n\n{content}\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Reads the command line, the runs and the page, and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", help="of docs/results, without .md")
    parser.add_argument("block", help="which of its generated tables")
    parser.add_argument("files", nargs="+", type=Path, help="what the programs wrote, as JSON")
    arguments = parser.parse_args()
    contents = [json.loads(file.read_text()) for file in arguments.files]
    tables: dict[str, list[Row]] = {}
    for content in contents:
        for name, rows in tables_of(content).items():
            tables.setdefault(name, []).extend(rows)
    page = ROOT / "docs" / "results" / f"{arguments.page}.md"
    parts = [
        f"{name.capitalize()}:\n\n{table(rows)}" if name else table(rows)
        for name, rows in tables.items()
    ]
    block = "\n\n".join([origins(contents), *parts])
    page.write_text(replace_block(page.read_text(), arguments.block, block))


if __name__ == "__main__":
    main()

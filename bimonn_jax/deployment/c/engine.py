"""The parts of `engine.c`, the code that all exported networks share, that one of them needs."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

ENGINE = Path(__file__).with_name("engine.c")
# A part, of which the #endif repeats the condition.
_PART = re.compile(r"^#if (!?ENGINE_[^\n]+)\n(.*?)^#endif /\* \1 \*/\n", re.MULTILINE | re.DOTALL)


def engine(name: str, needed: Collection[str], own: Mapping[str, str]) -> str:
    """The engine in the file of a network.

    Args:
      name: of the network.
      needed: which ENGINE_... hold, without that prefix.
      own: what stands in place of the ENGINE_EXAMPLE_..., without that prefix.
    """
    names = {"network_": f"{name}_", "NETWORK_": f"{name.upper()}_"}
    text = re.sub(r"\b(network|NETWORK)_", lambda old: names[old[0]], ENGINE.read_text("utf-8"))

    def part(found: re.Match[str]) -> str:
        condition = found[1].replace("ENGINE_", "")
        example = condition.removeprefix("EXAMPLE_")
        if example != condition:
            return own[example]
        terms = condition.split(" && ")
        return found[2] if all((t.strip("!") in needed) != (t[0] == "!") for t in terms) else ""

    # What comes before the first part is about that file.
    text = _PART.sub(part, text[text.index("\n#if") + 1 :])
    return re.sub(r"\n{3,}", "\n\n", text)

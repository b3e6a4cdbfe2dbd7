"""Names of what is measured, in words: for axes, legends and tables."""

F_MEASURE = "F-measure (DICE)"
SHARE = "share"
# By names in histories and metrics.
WORDS = {
    "accuracy": "as it is trained",
    "accuracy_boolean": "boolean network",
    "accuracy_float": "network before binarization",
    "activated_share": "neurons that are exactly an operator",
    "dice_boolean": "boolean network",
    "dice_float": "network before binarization",
    "dice_training": "on what is learned from",
    "end_share": "neurons that are erosions or dilations",
    "footprint_share": "inputs that neurons read",
    "live_share": "neurons that are not constant",
    "loss": "loss",
}
# By what names begin or end with, the unit of their axis.
_UNITS = {
    "loss": "loss",
    "dice": F_MEASURE,
    "F-measure": "F-measure",
    "accuracy": "right answers, %",
    "error": "wrong answers, %",
}


def unit(name: str) -> str:
    """What the axis of a measure is called; of unknown ones, "value"."""
    if "share" in name:
        return SHARE
    return next((text for start, text in _UNITS.items() if name.startswith(start)), "value")


def words(name: str) -> str:
    """What a measure is called beside its `unit`; NAME/PATH is NAME of a part of a network."""
    of, _, path = name.partition("/")
    known = WORDS.get(of, of.replace("_", " "))
    return f"{known}: {path}" if path else known

"""Dead zones: what values between layers may be, when they are not quite bits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Arithmetic = Literal["real", "float"]


ARITHMETICS: tuple[Arithmetic, ...] = ("real", "float")


@dataclass(frozen=True)
class DeadZone:
    """Values lie in [0, v1] or [v2, 1]; v1 and v2 float64, () or one per channel or feature.

    Both are NaN where values may be no numbers.
    """

    v1: np.ndarray
    v2: np.ndarray

    def map(self, fn: Callable[[np.ndarray], np.ndarray]) -> "DeadZone":
        """Applies a change of shape to both ends."""
        return DeadZone(fn(self.v1), fn(self.v2))

    def widened(self, error: float) -> "DeadZone":
        """The zone of values that may be off by so much; exact 0 and 1 stay what they are."""
        return DeadZone(
            np.minimum(self.v1 + error * (self.v1 != 0), 1),
            np.maximum(self.v2 - error * (self.v2 != 1), 0),
        )

    def worst(self) -> "DeadZone":
        """One zone, with ends of shape (1,), that holds for all."""
        return DeadZone(np.max(self.v1).reshape(1), np.min(self.v2).reshape(1))


Zones = dict[Arithmetic, DeadZone]


def binary_zones() -> Zones:
    """Of values that are exactly 0 or 1."""
    return {a: DeadZone(np.zeros(()), np.ones(())) for a in ARITHMETICS}


def are_bits(zone: DeadZone) -> bool:
    """Whether all values are exactly 0 or 1."""
    return bool(np.all(zone.v1 == 0) and np.all(zone.v2 == 1))

"""The same as scikit-learn has it: an object with ``fit`` and ``predict``."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import jax
import numpy as np

from bimonn_jax.filters.filter import Filter
from bimonn_jax.filters.learning import learn_filter


@dataclass
class FilterLearner:
    """Learns a filter by ``fit`` and runs it by ``predict``; settings as in scikit-learn.

    Attributes:
      seconds: see `bimonn_jax.filters.learn_filter`, as the next four.
      steps: in place of seconds.
      window: side of the windows.
      levels: gray levels that are read.
      foreground: which pixels are.
      random_state: a seed.

    Examples:
      >>> FilterLearner(seconds=10).get_params()["seconds"]
      10
    """

    seconds: float | None = 60.0
    steps: int | None = None
    window: int | None = None
    levels: int | None = None
    foreground: Literal["dark", "light"] | None = None
    random_state: int = 0

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> "FilterLearner":
        """Learns from images and their targets, each as in `bimonn_jax.filters.learn_filter`.

        Sets ``filter_``, a `bimonn_jax.filters.Filter`.

        Raises:
          ValueError: if they are not as many, or do not go together.
        """
        if len(X) != len(y):
            raise ValueError(f"X and y must be as many images; got {len(X)} and {len(y)}")
        settings = self.get_params()
        key = jax.random.key(settings.pop("random_state"))
        self.filter_ = learn_filter(list(zip(X, y, strict=True)), key=key, **settings)
        return self

    def predict(self, X: Sequence[Any]) -> list[np.ndarray]:
        """What the filter makes of images.

        Raises:
          AttributeError: before `fit`.
        """
        found: Filter | None = getattr(self, "filter_", None)
        if found is None:
            raise AttributeError("there is no filter yet: call fit first")
        return [found(image) for image in X]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def set_params(self, **params: Any) -> "FilterLearner":
        """Changes settings.

        Raises:
          ValueError: for a name that is none of them.
        """
        unknown = set(params) - set(self.get_params())
        if unknown:
            raise ValueError(f"settings are {sorted(self.get_params())}; got {sorted(unknown)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

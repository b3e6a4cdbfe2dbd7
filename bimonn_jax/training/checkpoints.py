"""Orbax checkpoints of a training state, with what the arrays alone would lose beside them.

Orbax restores arrays into the structure it is given, so names of reparametrizations that differ
would pass silently. They are saved with the state and compared before anything is restored.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import orbax.checkpoint as ocp

from bimonn_jax._support.files import printable, user_path
from bimonn_jax.networks.architecture import to_json
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.neurons.params import static_names

State = TypeVar("State")
_LOG = logging.getLogger(__name__)


class _OtherTrainingError(ValueError):
    pass


class Checkpoints:
    """Checkpoints of one training run in a folder; the newest few are kept.

    Used in a ``with`` statement they are closed at its end, also where a training fails.

    Args:
      folder: made if it does not exist.
      architecture: of the network, to refuse checkpoints of another one.
      run: JSON values (seed, data, steps) that must be the same for a run to be resumed.
      keep: how many to keep.

    Raises:
      ValueError: if the path of the folder is no text in the system's encoding.

    Examples:
      >>> import tempfile
      >>> with (
      ...     tempfile.TemporaryDirectory() as folder,
      ...     Checkpoints(folder, (), run={"seed": 0}) as checkpoints,
      ... ):
      ...     checkpoints.newest_step() is None
      True
    """

    def __init__(
        self,
        folder: str | Path,
        architecture: Architecture,
        *,
        run: Mapping[str, Any] | None = None,
        keep: int = 2,
    ):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._folder = user_path(folder).resolve()
        if printable(self._folder) != str(self._folder):
            raise ValueError(
                f"{printable(self._folder)} has bytes in its name that are no text, and Orbax "
                "writes no checkpoints there: choose another folder"
            )
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._fixed = {"architecture": to_json(architecture), "run": dict(run or {})}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _description(self, state: Any) -> dict[str, Any]:
        # As JSON has it: lists for tuples, so that it compares equal to what is read back.
        described = {**self._fixed, "names": static_names(state.params)}
        return dict(json.loads(json.dumps(described)))

    def save(self, state: Any, history: list[dict[str, float]]) -> None:
        """Writes a state (with ``step`` and ``params``) and the history so far, and waits."""
        info = {"history": history, **self._description(state)}
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(jax.tree.leaves(state)), info=ocp.args.JsonSave(info)
            ),
        )
        self._manager.wait_until_finished()

    def newest_step(self) -> int | None:
        """The step of the newest checkpoint; None if there is none."""
        step: int | None = self._manager.latest_step()
        return step

    def restore(self, state: State) -> tuple[State, list[dict[str, float]]]:
        """The newest saved state and its history; ``state`` itself and [] if there is none.

        A checkpoint that cannot be read is removed, with a warning in the log, and the one before
        it is taken.

        Args:
          state: a state of the right structure.

        Raises:
          ValueError: if the checkpoint belongs to another network or run, or none can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                info, leaves = self._read(step, state)
            except _OtherTrainingError:
                raise
            # Orbax raises many kinds of errors for damaged files.
            except Exception as error:
                _LOG.warning("checkpoint %d in %s cannot be read: %s", step, self._folder, error)
                continue
            for damaged in steps[: steps.index(step)]:
                self._manager.delete(damaged)
            return jax.tree.unflatten(jax.tree.structure(state), leaves), info["history"]
        if steps:
            raise ValueError(
                f"none of the checkpoints in {self._folder} can be read (steps {steps}): remove "
                "the folder to start again"
            )
        return state, []

    def _read(self, step: int, state: Any) -> tuple[dict[str, Any], list[jax.Array]]:
        info = self._manager.restore(step, args=ocp.args.Composite(info=ocp.args.JsonRestore()))
        # What belongs to another training is refused in its own words, not as damage.
        self._check(info["info"], state)
        target = jax.tree.leaves(state)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        )
        return info["info"], restored["state"]

    def _check(self, info: Mapping[str, Any], state: Any) -> None:
        for name, expected in self._description(state).items():
            if info.get(name) != expected:
                raise _OtherTrainingError(
                    f"{self._folder} holds checkpoints of another training: its {name} is "
                    f"{info.get(name)}, here it is {expected}. Choose another folder, or remove "
                    "that one"
                )

    def close(self) -> None:
        """Releases Orbax's threads."""
        self._manager.close()

"""Orbax checkpoints of a training state, with what the arrays alone would lose beside them.

Orbax restores arrays into the structure it is given, so names of reparametrisations that differ
would pass silently. They are saved with the state and compared before anything is restored.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from bimonn_jax.architecture import Architecture, to_json
from bimonn_jax.params import static_names

State = TypeVar("State")


class Checkpoints:
    """Checkpoints of one training run in a folder; the newest few are kept.

    Args:
      folder: made if it does not exist.
      architecture: of the network, to refuse checkpoints of another one.
      run: JSON values (seed, data, steps) that must be the same for a run to be resumed.
      keep: how many to keep.
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
        self._folder = Path(folder).resolve()
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._fixed = {"architecture": to_json(architecture), "run": dict(run or {})}

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

    def restore(self, state: State) -> tuple[State, list[dict[str, float]]]:
        """The newest saved state and its history; ``state`` itself and [] if there is none.

        Args:
          state: a state of the right structure.

        Raises:
          ValueError: if the checkpoint belongs to another network or run.
        """
        newest = self._manager.latest_step()
        if newest is None:
            return state, []
        info = self._manager.restore(newest, args=ocp.args.Composite(info=ocp.args.JsonRestore()))
        for name, expected in self._description(state).items():
            if info["info"].get(name) != expected:
                raise ValueError(
                    f"{self._folder} holds checkpoints of another training: its {name} is "
                    f"{info['info'].get(name)}, here it is {expected}. Choose another folder, or "
                    "remove that one"
                )
        leaves, structure = jax.tree.flatten(state)
        restored = self._manager.restore(
            newest, args=ocp.args.Composite(state=ocp.args.StandardRestore(leaves))
        )
        return jax.tree.unflatten(structure, restored["state"]), info["info"]["history"]

    def close(self) -> None:
        """Releases Orbax's threads."""
        self._manager.close()

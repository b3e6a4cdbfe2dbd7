"""Orbax checkpoints of a training state, with what the arrays alone would lose beside them.

Orbax restores arrays into the structure it is given, so names of reparametrisations that differ
would pass silently. They are saved with the state and compared before anything is restored.
"""

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
      keep: how many to keep.
    """

    def __init__(self, folder: str | Path, architecture: Architecture, *, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._folder = Path(folder).resolve()
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._architecture = to_json(architecture)

    def _description(self, state: Any) -> dict[str, Any]:
        return {"architecture": self._architecture, "names": static_names(state.params)}

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
          ValueError: if the checkpoint belongs to another network.
        """
        newest = self._manager.latest_step()
        if newest is None:
            return state, []
        info = self._manager.restore(newest, args=ocp.args.Composite(info=ocp.args.JsonRestore()))
        saved = {name: info["info"][name] for name in ("architecture", "names")}
        if saved != self._description(state):
            raise ValueError(
                f"{self._folder} holds checkpoints of another network ({saved}); this one is "
                f"{self._description(state)}: choose another folder, or remove that one"
            )
        leaves, structure = jax.tree.flatten(state)
        restored = self._manager.restore(
            newest, args=ocp.args.Composite(state=ocp.args.StandardRestore(leaves))
        )
        return jax.tree.unflatten(structure, restored["state"]), info["info"]["history"]

    def close(self) -> None:
        """Releases Orbax's threads."""
        self._manager.close()

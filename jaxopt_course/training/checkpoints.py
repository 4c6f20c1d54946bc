"""Checkpoints of a batch of training runs, on disk through orbax."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxopt_course._continued import check_about

Record = dict[str, np.ndarray]


class Checkpoints(contextlib.AbstractContextManager):
    """The newest checkpoint in a folder, or none where there is no folder.

    A checkpoint appears whole or not at all, so that a process killed while writing leaves the one
    before it.

    Attributes:
        about: What must agree between a checkpoint and the training that continues it.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, about: dict[str, Any]) -> None:
        """Open the folder, which is made if it is not there."""
        self.about = about
        self._manager = None
        if folder is not None:
            self._manager = ocp.CheckpointManager(
                Path(folder).absolute(),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=1, enable_async_checkpointing=False
                ),
            )

    def __exit__(self, *error: object) -> None:
        """Close the folder."""
        if self._manager is not None:
            self._manager.close()

    def save(self, runs: Any, records: list[Record]) -> None:
        """Write where the runs stand after `len(records)` epochs."""
        if self._manager is None:
            return
        history = {name: np.stack([record[name] for record in records]) for name in records[0]}
        self._manager.save(
            len(records),
            args=ocp.args.Composite(
                runs=ocp.args.StandardSave(runs),
                history=ocp.args.StandardSave(history),
                about=ocp.args.JsonSave(self.about | {"leaves": _describe(runs)}),
            ),
        )

    def restore(self, runs: Any) -> tuple[Any, list[Record]]:
        """Read the newest checkpoint.

        Args:
            runs: Fresh runs, which say what is expected and are returned if there is none.

        Returns:
            The runs and what was recorded of every epoch before them.

        Raises:
            ValueError: If the checkpoint belongs to another training.
        """
        step = None if self._manager is None else self._manager.latest_step()
        if self._manager is None or step is None:
            return runs, []
        folder = self._manager.directory
        about = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))
        check_about(folder, "training", about["about"], self.about)
        # Checked before the arrays are read: orbax, told of a wrong shape, fails with open tasks.
        stored, wanted = about["about"]["leaves"], _describe(runs)
        for path in stored | wanted:
            if stored.get(path) != wanted.get(path):
                raise ValueError(
                    f"checkpoint {folder} is of another network or optimizer: it has "
                    f"{stored.get(path, 'nothing')} at {path}, not {wanted.get(path, 'nothing')}"
                )
        read = self._manager.restore(
            step,
            args=ocp.args.Composite(
                runs=ocp.args.StandardRestore(jax.eval_shape(lambda: runs)),
                history=ocp.args.StandardRestore(),
            ),
        )
        history = {name: np.asarray(values) for name, values in read["history"].items()}
        return read["runs"], [
            {name: values[epoch] for name, values in history.items()} for epoch in range(step)
        ]


def _describe(runs: Any) -> dict[str, str]:
    """Return dtype and shape of every leaf by its path."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(runs)
    }

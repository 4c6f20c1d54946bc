"""Checkpoints of a batch of runs, on disk through orbax.

    FOLDER/process-0-of-1/crews/7     where the lanes stand, who waits, and which parts count
    FOLDER/process-0-of-1/ended/3     one part of the results: the runs that ended in one interval

A checkpoint is the parts so far and the newest crews, which are written last and name the parts
that count. Both appear whole or not at all, so a process killed at any moment leaves the checkpoint
before. Every process of a distributed batch has its own.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxopt_course._continued import check_about
from jaxopt_course._engine import _arrays as _arrays
from jaxopt_course._engine._arrays import ArraysHandler, ArraysRestore, ArraysSave
from jaxopt_course._engine._crews import Crew, Engine, Rows


class RunCheckpoints(contextlib.AbstractContextManager):
    """The checkpoints in one folder.

    Attributes:
        folder: The folder of this process.
    """

    def __init__(self, folder: str | os.PathLike[str], about: dict[str, Any]) -> None:
        """Open the folder, which is made if it is not there.

        Args:
            folder: The folder of all processes.
            about: What must agree between a checkpoint and the batch that continues it.

        Raises:
            ValueError: If the folder belongs to another number of processes.
        """
        processes = jax.process_count()
        self._about = about
        self.folder = _own_folder(folder)
        others = {path.name for path in self.folder.parent.glob("process-*-of-*")}
        strangers = [name for name in others if not name.endswith(f"-of-{processes}")]
        if strangers:
            raise ValueError(
                f"checkpoint {folder} has {sorted(strangers)[0]}, this batch has {processes} "
                "processes: continue with as many as it was begun with"
            )
        self._parts: list[int] = []
        self._open = contextlib.ExitStack()
        # A batch that ends before its first checkpoint leaves nothing, and need not wait for disks.
        self._managers = _managers(self._open, self.folder) if self.folder.is_dir() else None

    @property
    def exist(self) -> bool:
        """Whether there is a checkpoint."""
        return self._managers is not None and self._managers[0].latest_step() is not None

    def __exit__(self, *error: object) -> None:
        """Close the folder."""
        self._open.close()

    def save(self, engine: Engine) -> None:
        """Write where a batch stands that is not at work."""
        if self._managers is None:
            self._managers = _managers(self._open, self.folder)
        crews, ended = self._managers
        number = 1 + max([*crews.all_steps(), *ended.all_steps()], default=0)
        parts = self._parts
        if engine.rows:
            rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *engine.rows)
            ended.save(number, args=ArraysSave(_arrays.flatten(rows)))
            parts = [*parts, number]
        state = {
            "next": engine.next,
            "ended": engine.ended,
            "parts": parts,
            "crews": [
                {"waiting": [crew.waiting.start, crew.waiting.stop], "under_way": crew.under_way}
                for crew in engine.crews
            ],
        }
        crews.save(
            number,
            args=ocp.args.Composite(
                json=ocp.args.JsonSave({"about": self._about, "state": state}),
                lanes=ArraysSave(_arrays.flatten([crew.lanes for crew in engine.crews])),
            ),
        )
        # Only now do these rows lie on disk for good.
        self._parts = parts
        engine.forget_rows()

    def restore(self, engine: Engine) -> None:
        """Put a fresh batch where the newest checkpoint stands, if there is one.

        Raises:
            ValueError: If the checkpoint belongs to another batch.
        """
        if self._managers is None:
            return
        crews, ended = self._managers
        if self.exist:
            json = _read_json(crews)
            check_about(self.folder.parent, "batch", json["about"], self._about)
            self._take_up(engine, crews, json["state"])
        for part in set(ended.all_steps()) - set(self._parts):
            ended.delete(part)  # Of a checkpoint that was not finished.

    def _take_up(self, engine: Engine, crews: ocp.CheckpointManager, state: dict[str, Any]) -> None:
        self._parts = state["parts"]
        engine.next, engine.ended = state["next"], state["ended"]
        like = [engine.idle_lanes()] * len(state["crews"])
        read = crews.restore(crews.latest_step(), args=ocp.args.Composite(lanes=ArraysRestore()))
        engine.crews = [
            Crew(lanes, range(*crew["waiting"]), crew["under_way"])
            for lanes, crew in zip(
                _arrays.unflatten(read["lanes"], like), state["crews"], strict=True
            )
        ]


def stored_about(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what the checkpoint of this process in a folder is of, None if there is none."""
    own = _own_folder(folder)
    if not (own / "crews").is_dir():
        return None
    with contextlib.ExitStack() as stack:
        crews, _ = _managers(stack, own)
        return None if crews.latest_step() is None else _read_json(crews)["about"]


def _own_folder(folder: str | os.PathLike[str]) -> Path:
    process, processes = jax.process_index(), jax.process_count()
    return Path(folder).absolute() / f"process-{process}-of-{processes}"


def stored_parts(folder: Path, like: Rows | None = None) -> Iterator[Rows]:
    """Read the results in the folder of one process, or of all, part by part.

    Args:
        folder: The folder.
        like: Rows of the same structure; without, what lies deeper is named by its path.

    Yields:
        What is kept of the runs of one part.

    Raises:
        FileNotFoundError: If there is no checkpoint.
    """
    own = [folder] if (folder / "crews").is_dir() else sorted(folder.glob("process-*-of-*"))
    if not own:
        raise FileNotFoundError(f"{folder} holds no checkpoint of runs")
    for process in own:
        with contextlib.ExitStack() as stack:
            crews, ended = _managers(stack, process)
            for part in _read_json(crews)["state"]["parts"]:
                arrays = dict(ended.restore(part, args=ArraysRestore()))
                yield _arrays.by_name(arrays) if like is None else _arrays.unflatten(arrays, like)


def _managers(
    stack: contextlib.ExitStack, folder: Path
) -> tuple[ocp.CheckpointManager, ocp.CheckpointManager]:
    """Open what manages the crews and the parts in the folder of one process."""
    process = jax.process_index()
    # Every process for itself: each writes its own files and waits for nobody.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process,
        active_processes={process},
        barrier_sync_key_prefix=f"process{process}",
    )
    json = ocp.JsonCheckpointHandler(multiprocessing_options=alone)
    handlers = {"crews": {"json": json, "lanes": ArraysHandler()}, "ended": ArraysHandler()}
    managers = []
    for name, keep in (("crews", 1), ("ended", None)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            create=False,
            max_to_keep=keep,
            enable_async_checkpointing=False,
            multiprocessing_options=alone,
        )
        manager = ocp.CheckpointManager(
            folder / name, options=options, item_handlers=handlers[name]
        )
        managers.append(stack.enter_context(manager))
    crews, ended = managers
    return crews, ended


def _read_json(crews: ocp.CheckpointManager) -> dict[str, Any]:
    args = ocp.args.Composite(json=ocp.args.JsonRestore())
    return crews.restore(crews.latest_step(), args=args)["json"]

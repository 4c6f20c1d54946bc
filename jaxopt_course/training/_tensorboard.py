"""TensorBoard event files of training: a folder a run, a scalar a metric and epoch.

    logs/run_0/events.out.tfevents...    loss, accuracy, test_loss, ...
    logs/run_1/...

TensorBoard draws equal tags of several folders into one plot, so the runs of a batch lie over each
other there. The files are written by tensorboardX, which needs neither TensorFlow nor TensorBoard;
it is no dependency of the library but of its extra `tensorboard`.
"""

import contextlib
import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_path
from jaxopt_course.training._program import Epochs


class TensorBoard(contextlib.AbstractContextManager):
    """A callback of `fit` that logs what it records: `with TensorBoard("logs") as log: ...`.

    What an epoch has written is on disk before that run's next one begins, and a training resumed
    from a checkpoint continues the curves: TensorBoard drops what a killed process logged beyond
    the checkpoint. Training anew into the same folder replaces the curves that are there.

    Args:
        folder: Where the runs' folders go; they are made.
        names: Folder of every run below it, such as `["sgd/0", "sgd/1"]`; `run_0`, `run_1`, ... by
            default.

    Raises:
        TypeError: If `folder` is no path or `names` not a list of text.
        ValueError: If `names` are not distinct, or lead out of the folder.
        ModuleNotFoundError: If tensorboardX is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> two = Epochs([0, 1], [1, 1], {"loss": [0.7, 0.6]}, ended=0, runs=2)
        >>> with tempfile.TemporaryDirectory() as folder, TensorBoard(folder) as log:
        ...     log(two)
        ...     print(sorted(path.name for path in pathlib.Path(folder).iterdir()))
        ['run_0', 'run_1']
    """

    def __init__(self, folder: str | os.PathLike[str], *, names: Sequence[str] | None = None):
        """Check the names; nothing is written yet."""
        check_path(folder=folder)
        if importlib.util.find_spec("tensorboardX") is None:
            raise ModuleNotFoundError(
                "TensorBoard logs need tensorboardX: pip install 'jaxopt_course[tensorboard]'"
            )
        self._folder = Path(folder)
        self._names = None if names is None else _check_names(names)
        self._writers: dict[int, Any] = {}

    def __call__(self, epochs: Epochs) -> None:
        """Log an epoch of some runs.

        Args:
            epochs: What `fit` tells; the epochs done are the step of the scalars.

        Raises:
            ValueError: If there are more runs than names.
        """
        from tensorboardX.proto.event_pb2 import Event  # pyrefly: ignore
        from tensorboardX.proto.summary_pb2 import Summary  # pyrefly: ignore

        if not isinstance(epochs, Epochs):
            raise TypeError(f"epochs must be an Epochs, got {brief(epochs)}")
        names = self._names
        if names is not None and len(names) < max(epochs.runs, max(epochs.run) + 1):
            raise ValueError(f"names must be one a run, {epochs.runs}, got {len(names)}")
        for place, (run, epoch) in enumerate(zip(epochs.run, epochs.epoch, strict=True)):
            values = [
                Summary.Value(tag=name, simple_value=float(array[place]))
                for name, array in epochs.record.items()
            ]
            summary = Summary(value=values)
            writer = self._writers.get(int(run)) or self._open(int(run), int(epoch))
            writer.write_event(Event(wall_time=time.time(), step=int(epoch), summary=summary))
            writer.flush()

    def _open(self, run: int, epoch: int) -> Any:
        """Open a file for a run whose entries begin at an epoch."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyrefly: ignore

        folder = self._folder / (f"run_{run}" if self._names is None else self._names[run])
        folder.mkdir(parents=True, exist_ok=True)
        # The writer's own name ends with the second: two of one second would be one file.
        writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{epoch}")
        # Tells TensorBoard to forget this epoch and later ones of the files before.
        restart = SessionLog(status=SessionLog.START)
        writer.write_event(Event(wall_time=time.time(), step=epoch, session_log=restart))
        self._writers[run] = writer
        return writer

    def close(self) -> None:
        """Close the files. Another epoch would open new ones."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self.close()


def _check_names(names: Sequence[str]) -> list[str]:
    """Return the names of the runs, which must be distinct folders below the one for all."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a list of text, got {brief(names)}")
    for name in names:
        if not name or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"names must be folders below the one for all, got {brief(name)}")
    if len({PurePath(name) for name in names}) < len(names):
        raise ValueError(f"names must be distinct, got {list(names)}")
    return list(names)

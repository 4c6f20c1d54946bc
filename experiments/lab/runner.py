"""Run one experiment and keep its result: compute, judge, draw, write, in this order."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import io
import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from . import processes, progress, resumable, store

if TYPE_CHECKING:
    import xarray as xr

ABOUT = "about"
"""Attribute of a dataset that holds what `config.json` says."""
STYLE = Path(__file__).with_name("experiments.mplstyle")
PACKAGES = ("jaxopt_course", "jax", "jaxlib", "optax", "flax", "numpy", "xarray", "matplotlib")


@dataclasses.dataclass(frozen=True)
class Job:
    """One experiment with one config, and where its result goes.

    Attributes:
        name: Name of the experiment.
        module: Its module: `Config`, `run`, `claims`, `plot`, and where there is something to turn
            around or to play with, `pages`: from the data to HTML pages by file name.
        config: The config.
        folder: Folder of the result.
    """

    name: str
    module: ModuleType
    config: Any
    folder: Path

    def stored(self) -> store.Result | None:
        """Return the result of an earlier run with this very config, if there is one."""
        try:
            result = store.read(self.folder)
        except store.UnreadableResultError:
            return None
        # A preset may have changed since: then its folder holds the answer to another question.
        if result is None or result.about.get("config") != store.plain(self.config):
            return None
        return result

    def execute(
        self, *, command: str, console: Console, force: bool = False, redraw: bool = False
    ) -> store.Result:
        """Compute the result and put it in its folder.

        Args:
            command: Command line that repeats this.
            console: Where progress is shown.
            force: Compute in any case.
            redraw: Judge and draw the stored data anew instead of computing them.

        Returns:
            The result as it lies on disk.
        """
        kept = _KeptData(self.folder.with_name(f".{self.folder.name}.nc"), self.config)
        # Kept until the folder has its name: the disk may be full at its very last file.
        with kept.unless_finished() as keep, store.replacing(self.folder) as staging:
            dataset = None if force else kept.load()
            if redraw and (former := self.stored()):
                dataset = former.dataset()
            computed = processes.agree(dataset is None)
            if dataset is None:
                dataset = self._compute(command, console, anew=force)
            data = store.encode(dataset)
            keep(data)
            store.write_file(staging / "results.nc", data)
            claims = [claim.as_dict() for claim in self.module.claims(dataset)]
            self._draw(dataset, staging)
            store.write_file(staging / "claims.json", json.dumps(claims, indent=1))
            about = json.loads(dataset.attrs[ABOUT])
            store.write_file(staging / "config.json", json.dumps(about, indent=1))
        if computed:
            processes.agree(True)  # It is written: now nobody needs checkpoints.
            resumable.forget(self._checkpoints)
        return store.Result(self.folder, about)

    def assist(self, console: Console) -> None:
        """Compute what another process writes, if that one finds that it has to be computed."""
        if processes.agree(False):
            self._compute("", console)
            processes.agree(True)
            resumable.forget(self._checkpoints)

    @property
    def _checkpoints(self) -> Path:
        """Folder of the checkpoints; what a preset was before it was changed has another."""
        return self.folder.with_name(f".{self.folder.name}.{store.digest(self.config)}")

    def _compute(self, command: str, console: Console, *, anew: bool = False) -> "xr.Dataset":
        """Run the experiment; the data carry what they were computed by."""
        started = time.perf_counter()
        if anew:
            resumable.forget(self._checkpoints)
        with progress.display(console), resumable.into(self._checkpoints):
            dataset = self.module.run(self.config)
        about = self._about(command, time.perf_counter() - started)
        return dataset.assign_attrs({ABOUT: json.dumps(about)})

    def _draw(self, dataset: "xr.Dataset", folder: Path) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.style

        with matplotlib.style.context(STYLE):
            figure = self.module.plot(dataset)
            for suffix in ("svg", "png"):
                # Without a date in it the same data give the same file.
                metadata = {"Date": None} if suffix == "svg" else {}
                picture = io.BytesIO()
                figure.savefig(picture, format=suffix, metadata=metadata)
                store.write_file(folder / f"figure.{suffix}", picture.getvalue())
        if hasattr(self.module, "pages"):
            for name, page in self.module.pages(dataset).items():
                # A name from a config could lead elsewhere, or to one of the files above.
                if Path(name).name != name or not name.endswith(".html") or name.startswith("."):
                    raise ValueError(f"pages must have bare names that end in .html, got {name!r}")
                store.write_file(folder / name, page)

    def _about(self, command: str, seconds: float) -> dict[str, Any]:
        import jax

        config = store.plain(self.config)
        return {
            "format": store.FORMAT,
            "experiment": self.name,
            "result": self.folder.name,
            "config": config,
            "seeds": {field: value for field, value in config.items() if "seed" in field},
            "command": command,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "commit": _commit(),
            "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
            "machine": platform.machine(),
            "versions": {
                "python": platform.python_version(),
                **{package: importlib.metadata.version(package) for package in PACKAGES},
            },
        }


@dataclasses.dataclass(frozen=True)
class _KeptData:
    """Data of a run whose judging or drawing failed, so that hours of computing are not lost.

    Attributes:
        path: Hidden file beside the result's folder.
        config: The config that the data must belong to.
    """

    path: Path
    config: Any

    def load(self) -> "xr.Dataset | None":
        """Return the kept data if they are there and belong to this config."""
        if not self.path.is_file():
            return None
        try:
            dataset = store.load_dataset(self.path)
            about = json.loads(dataset.attrs[ABOUT])
            fits = (about["format"], about["config"]) == (store.FORMAT, store.plain(self.config))
        except (store.UnreadableResultError, ValueError, KeyError, TypeError):
            return None  # Damaged or not ours: computing anew replaces it.
        return dataset if fits else None

    @contextlib.contextmanager
    def unless_finished(self) -> Iterator[Callable[[bytes], None]]:
        """Keep data if the block fails, forget them if it succeeds.

        Yields:
            A function that takes the data as soon as there are any.
        """
        computed: list[bytes] = []
        try:
            yield computed.append
        except BaseException as error:
            if computed:
                error.add_note(self._write(computed[-1]))
            raise
        self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> str:
        """Write the data and say where, or why that failed: the first error is the one to raise."""
        try:
            store.write_file(self.path, data)
        except OSError as error:
            return f"The computed data could not be kept: {error}"
        return f"The computed data are kept: the next run takes them from {self.path}"


def _commit() -> str | None:
    """Return the commit that this package's files are at, marked if they were changed since."""

    def ask_git(*words: str) -> str:
        folder = Path(__file__).parent
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        # Installed, they may lie within somebody's repository, whose commit says nothing of them.
        ask_git("ls-files", "--error-unmatch", Path(__file__).name)
        return ask_git("describe", "--always", "--dirty", "--exclude", "*")
    except (OSError, subprocess.SubprocessError):
        return None

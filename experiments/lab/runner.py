"""Run one experiment and keep its result: compute, judge, draw, write, in this order."""

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import io
import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
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

    @functools.cached_property
    def code(self) -> str:
        """Digest of the code that computes: the library's, the lab's and the experiment's own."""
        import jaxopt_course

        lab, library = Path(__file__).parent, Path(str(jaxopt_course.__file__)).parent
        own = Path(str(self.module.__file__))
        several = own.name == "__init__.py"
        # Installed, the experiments lie within the library; those that are not run do not count.
        inside = (path for path in library.rglob("*.py") if lab.parent not in path.parents)
        places = (
            (library, inside),
            (lab, lab.rglob("*.py")),
            (own.parent, own.parent.rglob("*.py") if several else [own]),
        )
        digest = hashlib.sha256()
        for root, paths in places:
            for path in sorted(paths):
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:12]

    def stored(self, files: Sequence[str] = store.FILES) -> store.Result | None:
        """Return the result of an earlier run with this very config, if there is one.

        Args:
            files: The files that are needed; damage to others does not matter.
        """
        try:
            result = store.read(self.folder, files)
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
        from jaxopt_course._engine._lock import locked

        with locked(self.folder.with_name(f".{self.folder.name}.lock")):
            store.clear(self.folder)
            return self._execute(command, console, force=force, redraw=redraw)

    def _execute(
        self, command: str, console: Console, *, force: bool, redraw: bool
    ) -> store.Result:
        """Compute the result and put it in its folder, which nobody else writes to meanwhile."""
        kept = _KeptData(self.folder.with_name(f".{self.folder.name}.nc"), self.config)
        # Kept until the folder has its name: the disk may be full at its very last file.
        with kept.unless_finished() as keep, store.replacing(self.folder) as staging:
            dataset = None if force else kept.load()
            if redraw and (former := self.stored(["results.nc"])):
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
            about = store.seal(staging, json.loads(dataset.attrs[ABOUT]))
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
        """Folder of the checkpoints, which belong to one config and one code."""
        return self.folder.with_name(f".{self.folder.name}.{store.digest(self.config)}.{self.code}")

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
        """Draw the figure into a folder, as SVG and PNG, and the experiment's own pages."""
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
        """What `config.json` says of a run."""
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
            "code": self.code,
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
        path: Hidden file beside the result's folder: their checksum on a line, then the data.
        config: The config that the data must belong to.
    """

    path: Path
    config: Any

    def load(self) -> "xr.Dataset | None":
        """Return the kept data if they are there and belong to this config."""
        if not self.path.is_file():
            return None
        try:
            checksum, _, content = self.path.read_bytes().partition(b"\n")
            if store.sha256(content) != checksum.decode():
                return None
            dataset = store.decode(content, self.path)
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
            store.write_file(self.path, store.sha256(data).encode() + b"\n" + data)
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

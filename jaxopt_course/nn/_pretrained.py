"""Initialization by pre-training: weights from an orbax checkpoint where they fit.

Erhan et al. (2010), https://jmlr.org/papers/v11/erhan10a.html, on why it helps.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from jaxopt_course._checks import check_callable, check_path
from jaxopt_course._reading import Reading, how_many, readable
from jaxopt_course.nn._arguments import check_module

Match = str | Callable[[str], str | bool | None] | None


@readable
class Pretrained(NamedTuple):
    """What `from_pretrained` took and what it left.

    Paths are keys joined by slashes, such as `"blocks/0/kernel"`.

    Attributes:
        taken: The model's leaves that got values, with the checkpoint's leaf each came from.
        fresh: The model's leaves that keep their values: not matched, or not in the checkpoint.
        mismatched: The matched leaves whose shapes differ, with both; they keep their values too.
        unused: The checkpoint's leaves that went nowhere.
    """

    taken: dict[str, str]
    fresh: tuple[str, ...]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unused: tuple[str, ...]

    def _reading(self) -> Reading:
        """What was taken, with the shapes that did not fit."""
        rows = [
            (path, f"has shape {wanted}, in the checkpoint {found}")
            for path, (wanted, found) in self.mismatched.items()
        ]
        kept = len(self.fresh) + len(self.mismatched)
        taken = how_many(len(self.taken), "leaf", "leaves")
        return Reading(
            f"{taken} taken, {kept} kept fresh, {len(self.unused)} of the checkpoint unused", rows
        )


def from_pretrained(
    model: nnx.Module, checkpoint: str | os.PathLike, *, match: Match = None
) -> Pretrained:
    """Give a model the leaves of a checkpoint that match its own; the others stay as they are.

    Leaves are the model's variables but for the states of its random streams. Values are converted
    to the dtype, and put on the devices, of the leaf they replace. Only what is taken is read.

    Args:
        model: Model to initialize, in place.
        checkpoint: Folder that orbax wrote: of `nnx.state(model)`, of `nnx.to_pure_dict` of it, or
            of any tree that has the leaves somewhere inside.
        match: Which leaves to take. None for all whose path is in the checkpoint; a regular
            expression that the whole path must match; or a function of the path that returns
            True, False, or the path in the checkpoint to take instead.

    Returns:
        What was taken and what was not; print it.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If nothing matches, which is hardly what was meant.

    Example:
        >>> import tempfile
        >>> import orbax.checkpoint as ocp
        >>> pretrained = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        >>> model = nnx.Linear(3, 2, rngs=nnx.Rngs(1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ocp.StandardCheckpointer() as checkpointer:
        ...         checkpointer.save(f"{folder}/weights", nnx.state(pretrained))
        ...     print(from_pretrained(model, f"{folder}/weights", match="kernel"))
        1 leaf taken, 1 kept fresh, 1 of the checkpoint unused
    """
    import orbax.checkpoint as ocp  # It takes longer to import than all else here.

    check_module(model)
    check_path(checkpoint=checkpoint)
    if not isinstance(match, str):
        check_callable(match=match, optional=True)
    folder = Path(checkpoint).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"checkpoint must be a folder that orbax wrote, got {checkpoint}")
    with ocp.PyTreeCheckpointer() as checkpointer:
        stored = checkpointer.metadata(folder).item_metadata.tree
        shapes = {_path(keys): leaf.shape for keys, leaf in jax.tree.leaves_with_path(stored)}
        variables = _variables(model)
        taken, fresh, mismatched = {}, [], {}
        for path, variable in variables.items():
            source = _source(path, match)
            if source not in shapes:
                fresh.append(path)
            elif shapes[source] != variable.shape:
                mismatched[path] = (variable.shape, shapes[source])
            else:
                taken[path] = source
        if not taken:
            raise ValueError(
                f"match must take at least one leaf, took none of {_some(variables)} "
                f"from a checkpoint of {_some(shapes)}; shapes that differ: {mismatched or 'none'}"
            )
        values = _read(checkpointer, folder, stored, set(taken.values()))
    for path, source in taken.items():
        old = variables[path][...]
        variables[path].set_value(jax.device_put(values[source].astype(old.dtype), old.sharding))
    unused = tuple(path for path in shapes if path not in taken.values())
    return Pretrained(taken, tuple(fresh), mismatched, unused)


def _variables(model):
    """The model's variables by path, but for random streams."""
    return {
        "/".join(map(str, path)): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.Variable) and not isinstance(node, nnx.RngState)
    }


def _path(keys):
    # A saved nnx.State has a level "value" below each variable.
    names = jax.tree_util.keystr(keys, simple=True, separator="/")
    return names.removesuffix("/value")


def _source(path, match):
    """Path in the checkpoint of the leaf to take for the model's `path`, or None."""
    if match is None:
        return path
    chosen = re.fullmatch(match, path) if isinstance(match, str) else match(path)
    if isinstance(chosen, str):
        return chosen
    return path if chosen else None


def _read(checkpointer, folder, stored, wanted):
    """Read the wanted leaves as NumPy arrays, by path."""
    import orbax.checkpoint as ocp

    item = jax.tree.map_with_path(
        lambda keys, leaf: leaf if _path(keys) in wanted else ocp.PLACEHOLDER, stored
    )
    how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
    restored = checkpointer.restore(folder, ocp.args.PyTreeRestore(item=item, restore_args=how))
    return {
        _path(keys): leaf
        for keys, leaf in jax.tree.leaves_with_path(restored)
        if leaf is not ocp.PLACEHOLDER
    }


def _some(paths):
    listed = sorted(paths)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")

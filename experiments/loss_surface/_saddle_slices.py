"""A saddle that gradient descent passes: slices along its extreme eigenvectors, and the path."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree

from jaxopt_course import landscape, saddle

from ..lab.claims import Claim, at_least, within
from ..lab.digit_network import Network
from ._config import Config
from ._passed_saddle import find_passed

ENDS = ("lowest eigenvalue", "highest eigenvalue")
SMALL_STEP = 1e-3


def cut_saddle(config: Config) -> xr.Dataset:
    """Find a saddle that a path passes, and cut through it along its extreme eigenvectors."""
    # The saddle, and the ends of its spectrum.
    network = Network(hidden=config.hidden)
    key = jax.random.key(config.seed)
    passed = find_passed(
        network, key, paths=config.saddle_paths, steps=config.saddle_steps, learning_rate=0.5,
        scale=0.01,
    )  # fmt: skip
    pairs = saddle.extreme_eigenpairs(
        passed.fun, passed.saddle, k=config.hidden, which="both", key=key
    )
    vectors = np.asarray(jax.vmap(lambda v: ravel_pytree(v)[0])(pairs.eigenvectors))
    eigenvalues = np.asarray(pairs.eigenvalues)
    # The path in coordinates of the lowest eigenspace: where it leaves, and in which direction.
    origin = np.asarray(ravel_pytree(passed.saddle)[0])
    lowest = vectors[np.isclose(eigenvalues, eigenvalues[0], rtol=1e-3)]
    in_lowest, share = map(np.asarray, landscape.project(passed.path, origin, lowest))
    distance = np.linalg.norm(passed.path - origin, axis=1)
    nearest = int(distance.argmin())
    leaves = nearest + int(np.argmax(share[nearest:]))
    first = in_lowest[leaves] @ lowest
    directions = np.stack([first / np.linalg.norm(first), vectors[-1]])
    seen = landscape.project(passed.path, origin, directions).coordinates
    # Cuts along that direction and along the steepest eigenvector.
    half = 1.5 * max(float(distance[leaves]), 1.0)
    trees = [passed.unravel(jnp.asarray(direction)) for direction in directions]
    steps = jnp.linspace(-half, half, config.points)

    def cut(tree, steps):
        return landscape.line(passed.fun, passed.saddle, direction=tree, steps=steps).value

    near = jnp.array([-SMALL_STEP, 0.0, SMALL_STEP])
    close = np.array([cut(tree, near) for tree in trees])
    surface = landscape.plane(passed.fun, passed.saddle, trees, rows=steps, columns=steps)
    return xr.Dataset(
        {
            "saddle_surface": (("row", "column"), surface.value),
            "saddle_line": (("end", "row"), [cut(tree, steps) for tree in trees]),
            "saddle_steps": ("row", steps),
            "curvature": ("end", (close[:, 0] - 2 * close[:, 1] + close[:, 2]) / SMALL_STEP**2),
            "eigenvalue": ("end", eigenvalues[[0, -1]]),
            "residual": ("end", np.asarray(pairs.residual_norms)[[0, -1]]),
            "saddle_value": float(passed.fun(passed.saddle)),
            "saddle_index": passed.index,
            "saddle_gradient": passed.gradient_norm,
            "lowest_multiplicity": len(lowest),
            "saddle_path": (("gd_step", "axis"), seen),
            "saddle_path_loss": ("gd_step", passed.values),
            "saddle_distance": ("gd_step", distance),
            "lowest_share": ("gd_step", share),
            "leaves": leaves,
        },
        coords={"end": list(ENDS)},
        attrs={"saddle_parameters": origin.size, "expected_index": 4 * config.hidden},
    )


def saddle_claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the saddle, its eigenvectors and how the path leaves it."""
    index, expected = int(dataset.saddle_index), int(dataset.attrs["expected_index"])
    size = dataset.attrs["saddle_parameters"]
    leaves = int(dataset.leaves)
    share = float(dataset.lowest_share[leaves])
    multiplicity = int(dataset.lowest_multiplicity)
    judged = [
        Claim(
            f"the path passes a saddle of {size} parameters (gradient norm "
            f"{float(dataset.saddle_gradient):.1e}) at which no hidden unit is used",
            "derived: hidden units times classes less one, by the rank of the mean of error times "
            "input",
            f"index {expected}",
            f"index {index}",
            index == expected,
        )
    ]
    for end in ENDS:
        at = dataset.sel(end=end)
        claim = within(
            f"along the eigenvector of the {end} the value bends by it (second difference, "
            f"residual of the eigenpair {float(at.residual):.1e})",
            "Taylor's formula",
            expected=float(at.eigenvalue),
            measured=float(at.curvature),
            tolerance=1e-3,
        )
        judged.append(claim)
    return [
        *judged,
        at_least(
            f"the path, {float(dataset.saddle_distance.min()):.2g} away at the nearest, leaves "
            f"along the eigenspace of the lowest eigenvalue, {multiplicity} of {size} dimensions "
            f"(share of its squared distance, at {float(dataset.saddle_distance[leaves]):.2g})",
            "derived from the linearised flow; twice the rest of a trial run with seed 1000, 0.06",
            bound=0.88,
            measured=share,
        ),
    ]

"""The Hessian tells minima, maxima and strict saddles apart, and admits where it cannot.

Each surface is drawn with its stationary points, known in closed form, and `saddle.classify` is
asked what they are, in single and in double precision. Where the Hessian is regular, kind, index
and eigenvalues must be the closed form's, and the function must fall both ways along the escape
direction of every strict saddle. Where the Hessian is semidefinite and singular, the honest answer
of a second-order test is DEGENERATE: the same Hessian belongs to minima and to saddles.

Section: Landscape and saddles
Command: python -m experiments run stationary_points
Cost: quick 20 s; paper the same on a finer grid; on 2 cores
Last result: all 6 claims hold for 43 points of 11 surfaces (2026-11-23, 2 cores)
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxopt_course import plot as draw
from jaxopt_course import problems, saddle

from .lab import progress
from .lab.claims import Claim, at_most
from .lab.fields import Checked, above, minimum, one_of

PRECISIONS = {"float32": jnp.float32, "float64": jnp.float64}
EIGENVALUE_TOLERANCES = {"float32": 1e-5, "float64": 1e-12}
SURFACES = (
    "hyperbolic_saddle",
    "nesterov_saddle",
    "himmelblau",
    "six_hump_camel",
    "mueller_brown",
    "rosenbrock",
    "hyperbola_valley",
    "quartic_bowl",
    "monkey_saddle",
    "quartic_saddle",
    "cuspidal_saddle",
)


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Surfaces of two parameters."""

    surfaces: tuple[Annotated[str, one_of(SURFACES)], ...] = SURFACES
    """Names of functions of `jaxopt_course.problems` that return a surface."""
    resolution: Annotated[int, minimum(2)] = 120
    """Grid points along each axis of the drawn surface."""
    displacement: Annotated[float, above(0)] = 0.05
    """Distance from a stationary point at which a point is asked to be NOT_STATIONARY."""

    @classmethod
    def quick(cls) -> "Config":
        """Draw on a coarse grid."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Draw on a fine grid."""
        return cls(resolution=400)


def _classify(
    problem: problems.Problem, points: np.ndarray, precision: str
) -> saddle.StationaryPoint:
    """Classify a batch of points, shape (points, 2)."""
    batch = jnp.asarray(points, PRECISIONS[precision])
    return jax.jit(jax.vmap(lambda x: saddle.classify(problem.fun, x)))(batch)


def _grid(problem: problems.Problem, resolution: int) -> xr.Dataset:
    if problem.bounds is None:
        raise ValueError(f"{problem.name} has no window to draw: it is not a surface")
    x, y = (np.linspace(*bound, resolution) for bound in problem.bounds)
    points = jnp.stack(jnp.meshgrid(x, y), axis=-1)
    height = jax.jit(jax.vmap(jax.vmap(problem.fun)))(points)
    return xr.Dataset({"x": ("column", x), "y": ("row", y), "height": (("row", "column"), height)})


def _points(problem: problems.Problem, displacement: float) -> xr.Dataset:
    """Compare the known stationary points of a surface with what `classify` says."""
    known = problem.stationary_points
    where = np.stack([np.asarray(point.params) for point in known])
    data: dict[str, tuple[Any, Any]] = {
        "surface": ("point", [problem.name] * len(known)),
        "position": (("point", "axis"), where),
        "kind": ("point", [point.kind for point in known]),
        "index": ("point", [point.index for point in known]),
        "nullity": ("point", [point.nullity for point in known]),
        "eigenvalues": (("point", "axis"), np.array([point.eigenvalues for point in known])),
    }
    # Points beside them go along in the same batch, which compiles once.
    batch = np.concatenate([where, where + displacement * np.array([0.6, 0.8])])
    results = {name: _classify(problem, batch, name) for name in PRECISIONS}
    found = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(known)], results)
    beside = np.asarray(results["float64"].kind)[len(known) :]

    def stack(field):
        return np.stack([getattr(result, field) for result in found.values()])

    names = np.array([kind.name for kind in saddle.Kind])
    data["found_kind"] = ("precision", "point"), names[stack("kind")]
    data["found_index"] = ("precision", "point"), stack("index")
    data["found_eigenvalues"] = ("precision", "point", "axis"), stack("eigenvalues")

    data["kind_beside"] = "point", names[beside]
    direction = found["float64"].escape_direction
    data["escape_direction"] = ("point", "axis"), direction
    fun = jax.jit(jax.vmap(problem.fun))
    both_ways = [fun(where + sign * displacement * direction) - fun(where) for sign in (1, -1)]
    data["fall"] = ("way", "point"), np.stack(both_ways)
    return xr.Dataset(data, coords={"precision": list(PRECISIONS)})


def run(config: Config) -> xr.Dataset:
    """Evaluate every surface on its grid and classify its known stationary points."""
    grids, points = [], []
    with jax.enable_x64(True):
        for name in progress.track(config.surfaces, "surfaces"):
            problem = getattr(problems, name)()
            grids.append(_grid(problem, config.resolution))
            points.append(_points(problem, config.displacement))
    grid = xr.concat(grids, "panel", join="exact")
    dataset = xr.merge([grid, xr.concat(points, "point", join="exact")], join="exact")
    return dataset.assign_coords(panel=[str(part.surface[0].item()) for part in points])


def _strict(dataset: xr.Dataset) -> xr.DataArray:
    return dataset.kind == "STRICT_SADDLE"


def _agreement(statement: str, source: str, right: xr.DataArray) -> Claim:
    """Claim that all of at least one comparison came out right."""
    total, hits = right.size, int(right.sum())
    return Claim(statement, source, f"all of {total}", f"{hits} of {total}", 0 < hits == total)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Hold the classification against the closed forms."""
    # With eigenvalues of both signs a point is a strict saddle whatever the others are.
    decided = (dataset.nullity == 0) | _strict(dataset)
    regular = dataset.isel(point=decided.values)
    degenerate = dataset.isel(point=~decided.values)
    strict = dataset.isel(point=_strict(dataset).values)
    same = (regular.found_kind == regular.kind) & (regular.found_index == regular.index)
    # Kinds and indices.
    found = [
        _agreement(
            "kind and index of every point with a deciding Hessian are the closed form's, in both "
            "precisions",
            "second derivative test",
            same,
        ),
        _agreement(
            "every point whose Hessian is semidefinite and singular is called DEGENERATE, not "
            "guessed, in both precisions",
            "second derivative test",
            degenerate.found_kind == "DEGENERATE",
        ),
        _agreement(
            "at every strict saddle the function falls both ways along the escape direction",
            "Taylor's theorem",
            strict.fall < 0,
        ),
        _agreement(
            "a point beside a stationary point is NOT_STATIONARY",
            "gradient tolerance",
            dataset.kind_beside == "NOT_STATIONARY",
        ),
    ]
    # Eigenvalues, relative to the point's largest.
    size = abs(dataset.eigenvalues).max("axis")
    error = abs(dataset.found_eigenvalues - dataset.eigenvalues).max("axis", skipna=False)
    error = (error / size.where(size > 0, 1)).max("point", skipna=False)
    for precision, tolerance in EIGENVALUE_TOLERANCES.items():
        found.append(
            at_most(
                f"eigenvalues in {precision} are the closed form's: largest error over the "
                "largest eigenvalue",
                "closed forms",
                bound=tolerance,
                measured=float(error.sel(precision=precision)),
            )
        )
    return found


def _draw_surface(axes: Axes, panel: xr.Dataset, points: xr.Dataset) -> None:
    """Draw one surface with its stationary points; hollow marks where the Hessian cannot tell."""
    # Levels at quantiles show the flat parts as well as the steep ones.
    levels = np.unique(np.quantile(panel.height, np.linspace(0, 1, 25)))
    x, y = panel.x.values, panel.y.values
    norm = BoundaryNorm(levels, ncolors=256)
    fill = {"cmap": "Blues_r", "norm": norm, "alpha": 0.7}
    line = {"colors": "white", "linewidths": 0.4, "linestyles": "solid"}
    # As pixels also in the SVG, which would otherwise take megabytes.
    axes.contourf(x, y, panel.height, levels=levels, **fill).set_rasterized(True)
    axes.contour(x, y, panel.height, levels=levels, **line).set_rasterized(True)
    axes.set(
        title=str(panel.panel.item()).replace("-", " ").title(),
        xlim=(x[0], x[-1]),
        ylim=(y[0], y[-1]),
        box_aspect=1,
    )
    draw.points(
        points.position,
        [saddle.Kind[kind] for kind in points.kind.values],
        directions=points.escape_direction.where(_strict(points)).transpose("point", "axis"),
        hollow=(points.found_kind.sel(precision="float64") != points.kind).values,
        ax=axes,
    )
    axes.legend().remove()


def plot(dataset: xr.Dataset) -> Figure:
    """Draw every surface, its stationary points by kind, and the escape directions."""
    # The legend takes a cell, but no row of its own.
    cells = dataset.sizes["panel"] + 1
    columns = 5 if cells % 4 == 1 else 4
    rows = -(-cells // columns)
    figure = Figure(figsize=(11, 2.6 * rows + 0.5), layout="constrained")
    cells = figure.subplots(rows, columns).flat
    for name in dataset.panel.values:
        panel = dataset.sel(panel=name)
        _draw_surface(next(cells), panel, dataset.isel(point=(dataset.surface == name).values))
    # The legend of one point of each kind, outside of its own, empty axes.
    corner = next(cells)
    kinds = [kind for kind in saddle.Kind if kind.name in dataset.kind.values]
    draw.points(np.full((len(kinds), 2), np.nan), kinds, ax=corner)
    marks, labels = corner.get_legend_handles_labels()
    arrow = Line2D([], [], color="black", marker=">", label="escape direction")
    hollow = Line2D([], [], ls="", marker="o", ms=8, mfc="white", mec="black", mew=2)
    corner.legend(
        [*marks, arrow, hollow],
        [*(label.removesuffix(" (1)") for label in labels), "escape direction",
         "hollow: the Hessian\ncannot tell"],
        loc="center", title="dark is low", fontsize="medium",
    )  # fmt: skip
    for cell in (corner, *cells):
        cell.set_axis_off()
    figure.suptitle("The Hessian decides at regular points and admits where it cannot")
    return figure

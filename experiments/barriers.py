"""Between two minima the straight line is high; matched units flatten it, and a curved path is low.

A network of one hidden layer of SiLU units is trained on leading principal components of digits,
with weight decay, from several pairs of seeds. What the two minima of a pair have between them is
the barrier of Ainsworth et al. 2023,

    max over s of f((1 - s) a + s b)  -  (f(a) + f(b)) / 2,

once as they are, and once with the second one's hidden units permuted by `nn.match_units` (weights)
into the order of the first one's, at several widths. At the smallest width, where the Hessian is
dense and the minima are polished to rounding, `saddle.barrier` then lets a path descend by the
string method (the nudged band of Draxler et al. 2018 relaxes to the same path), and searches from
its top for the pass: a saddle that `saddle.classify` certifies to be of index 1, above both minima.
It says nothing of which minima lie below it on either side: paths go by way of others, too. Between
minima as they are paths of 2,000 steps have not settled: the saddle found lies lower than their
top, and as far from it as minima are from each other, so that it need not be the pass of this path.

Some pairs are one minimum in two orders of its units: matched, their distance is rounding, and
nothing is searched for between them; how many is stated.

Ainsworth et al. find no barrier at all between matched MLPs of three hidden layers of 512 units on
MNIST, and ever higher ones the narrower the network. Garipov et al. 2018 and Draxler et al. 2018
find curved paths of training loss as low as at the minima, or nearly, between networks that have up
to a million parameters and more; here there are tens, so that a pass remains.
In float64. Bounds are from trial runs of another seed.

https://arxiv.org/abs/2209.04836, https://arxiv.org/abs/1802.10026, https://arxiv.org/abs/1803.00885

Section: Landscape and saddles
Command: python -m experiments run barriers
Cost: quick 76 s of processor time with all to compile, 64 s with most programs at hand, both on a
    machine busy with much else; paper not run
Last result: 6 of 7 claims hold (2026-11-29, quick, a busy machine): matching leaves 0.42 +- 0.25 %
    of the line's barrier at width 192, a path 5 +- 5 % at width 4; of 10 paths 8 have a pass on
    top, whose interval (49 to 94 %) does not exclude half
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure
from scipy import stats

from jaxopt_course import landscape, nn, problems, saddle, transforms

from .lab import data
from .lab.claims import Claim, at_most
from .lab.fields import Checked, Seed, a_folder, above, check_ascending, minimum, one_of
from .lab.progress import track
from .lab.statistics import mean_interval, share_interval, show_mean, show_share

HOW = ("as they are", "matched")
ONE_MINIMUM = 1e-6
"""Distance of two minima over the norm of one below which they are one minimum."""
ROUNDING = 1e-9
"""Relative difference of values that are to be equal, and gradient norm at minima, at most."""
LEFT, PATH_LEFT = 0.05, 0.2
"""Shares of the line's barrier that at most are left, when units match at the largest width and
along a path: trial runs left .006 +- .011 and .06 +- .06."""
ABOVE_TOP = 0.1
"""How far a pass may lie above the highest image of its path, over the height of that: the top of
the path is between images. Trial runs had .05."""
AINSWORTH, PATHS = "Ainsworth et al. 2023", "Garipov et al. 2018, Draxler et al. 2018"


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The networks, how they are trained, and how paths between them are searched."""

    widths: tuple[Annotated[int, minimum(2)], ...] = (4, 12, 48, 192)
    """Hidden units, ascending; paths and saddles at the first."""
    pairs: Annotated[int, minimum(2)] = 8
    """Pairs of seeds at each width."""
    path_pairs: Annotated[int, minimum(2)] = 5
    """Pairs of seeds, the first of those of a width, between which paths are searched."""
    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    inputs: Annotated[int, minimum(2)] = 6
    """Inputs of the network: principal components of the images."""
    classes: Annotated[int, minimum(2)] = 5
    """Only images with labels below this number are used."""
    images: Annotated[int, minimum(10)] = 200
    """Examples, all in every step."""
    weight_decay: Annotated[float, above(0)] = 1e-3
    """Factor of half the squared norm of all parameters."""
    learning_rate: Annotated[float, above(0)] = 0.03
    """Learning rate of Adam, which falls to 0 along a cosine."""
    steps: Annotated[int, minimum(1)] = 1500
    """Steps of Adam."""
    polishing: Annotated[int, minimum(1)] = 50
    """Steps of the trust-region rule after Adam, at the first width."""
    string_images: Annotated[int, minimum(3)] = 21
    """Images of a path."""
    string_steps: Annotated[int, minimum(1)] = 2000
    """Steps of the string method."""
    search_steps: Annotated[int, minimum(1)] = 100
    """Steps of the search for a saddle."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check the order of the widths, and the pairs."""
        super().__post_init__()
        check_ascending(widths=self.widths)
        if self.path_pairs > self.pairs:
            raise ValueError(f"path_pairs must be at most {self.pairs}, got {self.path_pairs}")

    @classmethod
    def quick(cls) -> "Config":
        """Eight pairs of networks of 4 to 192 units, on 200 digits."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Twenty pairs of 4 to 512 units (the paper: three hidden layers of up to 512)."""
        return cls(
            widths=(4, 8, 16, 32, 64, 128, 256, 512),
            pairs=20,
            path_pairs=20,
            images=800,
            steps=5000,
            string_images=41,
            string_steps=10_000,
        )


def _problem(config: Config, width: int) -> tuple[Any, Any]:
    """Return the loss with weight decay, and from a key to a start."""
    train = data.load(config.dataset, config.data_folder).train
    kept = np.flatnonzero(train.labels < config.classes)[: config.images]
    pixels = train.images.reshape(len(train.labels), -1)[kept].astype(float)
    left, values, _ = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    # The first component has variance 1.
    components = left * values / values[0] * len(kept) ** 0.5

    def build(key):
        return nn.MLP(
            (config.inputs, width, config.classes),
            activation=jax.nn.silu,
            param_dtype=jnp.float64,
            rngs=nnx.Rngs(key),
        )

    problem = problems.empirical_loss(build, components[:, : config.inputs], train.labels[kept])
    half = config.weight_decay / 2
    return (
        lambda params: problem.fun(params) + half * optax.tree.norm(params, squared=True)
    ), problem.init


def _minima(config: Config, width: int, fun: Any, init: Any) -> Any:
    """Train from every seed; polish at the first width. Leaves have the seeds in front."""
    keys = jax.random.split(jax.random.key(config.seed), 2 * config.pairs)
    rule = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))

    @jax.jit
    @jax.vmap
    def train(key):
        return transforms.path(fun, rule, init(key), config.steps, every=config.steps).params

    @jax.jit
    @jax.vmap
    def polish(params):
        steps = config.polishing
        return transforms.path(fun, transforms.trust_region(), params, steps, every=steps).params

    ends = train(keys)
    return polish(ends) if width == config.widths[0] else ends


def _pick(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _lines(config: Config, width: int, fun: Any, ends: Any) -> tuple[xr.Dataset, list[Any]]:
    """Cut along the lines of every pair, as they are and matched; return the ends of pairs, too."""
    model = nn.MLP((config.inputs, width, config.classes), rngs=nnx.Rngs(0))
    axes = nn.unit_axes(model)
    values, pairs = [], []
    for pair in range(config.pairs):
        one, other = (_pick(ends, 2 * pair + i) for i in (0, 1))
        matched = nn.match_units(one, other, axes=axes).params
        pairs.append((one, other, matched))
        values.append([landscape.line(fun, one, end).value for end in (other, matched)])
    dims = ("pair", "how", "step")
    return xr.Dataset({"line": (dims, np.array(values))}), pairs


def _passes(config: Config, fun: Any, pairs: list[Any]) -> xr.Dataset:
    """Let paths descend between the minima of every pair, and search from their tops."""
    found = []
    for one, *others in track(pairs, "paths"):
        for end in others:
            apart = float(
                optax.tree.norm(jax.tree.map(jnp.subtract, end, one)) / optax.tree.norm(one)
            )
            row: dict[str, Any] = {"apart": apart, "path": np.full(config.string_images, np.nan)}
            row |= dict.fromkeys(("saddle_value", "saddle_index", "distance"), np.nan)
            row["found"] = False
            if apart > ONE_MINIMUM:
                between = saddle.barrier(
                    fun,
                    one,
                    end,
                    images=config.string_images,
                    steps=config.string_steps,
                    max_steps=config.search_steps,
                )
                row |= {"path": np.asarray(between.value), "found": bool(between.found)}
                if between.found:
                    row |= {
                        "saddle_value": float(between.saddle_value),
                        "saddle_index": float(between.point.index),
                        "distance": float(between.distance),
                    }
            found.append(row)
    shape = (len(pairs), len(HOW))
    return xr.Dataset(
        {
            name: (
                ("path_pair", "how", *(["image"] if name == "path" else [])),
                np.array([row[name] for row in found]).reshape(*shape, *np.shape(found[0][name])),
            )
            for name in found[0]
        }
    )


def run(config: Config) -> xr.Dataset:
    """Train the pairs, cut along their lines, and search paths and passes at the first width."""
    cuts, passes = [], xr.Dataset()
    with jax.enable_x64(True):
        for width in track(config.widths, "widths"):
            fun, init = _problem(config, width)
            ends = _minima(config, width, fun, init)
            lines, pairs = _lines(config, width, fun, ends)
            cuts.append(lines)
            if width == config.widths[0]:
                points = jax.jit(jax.vmap(lambda params, fun=fun: saddle.classify(fun, params)))(
                    ends
                )
                passes = _passes(config, fun, pairs[: config.path_pairs]).assign(
                    gradient_norm=("seed", np.asarray(points.gradient_norm)),
                    is_minimum=("seed", np.asarray(points.kind) == saddle.Kind.MINIMUM),
                )
    dataset = xr.concat(cuts, xr.DataArray(list(config.widths), dims="width", name="width"))
    steps = np.linspace(0, 1, dataset.sizes["step"])
    return xr.merge([dataset, passes]).assign_coords(how=list(HOW), step=steps)


def line_barriers(dataset: xr.Dataset) -> xr.DataArray:
    """Return how far every line rises above the mean of its ends."""
    ends = (dataset.line.isel(step=0) + dataset.line.isel(step=-1)) / 2
    return dataset.line.max("step") - ends


def path_lines(dataset: xr.Dataset) -> xr.DataArray:
    """Return how far the lines rise between which paths were searched."""
    lines = line_barriers(dataset).isel(width=0, pair=slice(dataset.sizes["path_pair"]))
    return lines.rename(pair="path_pair")


def path_barriers(dataset: xr.Dataset) -> xr.DataArray:
    """Return how far every path rises above the mean of its ends; NaN between one minimum."""
    ends = (dataset.path.isel(image=0) + dataset.path.isel(image=-1)) / 2
    return dataset.path.max("image", skipna=False) - ends


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge lines by width, paths, and passes."""
    # Barriers at every width, before and after units are matched, and the share that is left.
    barriers = line_barriers(dataset)
    before, after = (barriers.sel(how=how).transpose("width", "pair") for how in HOW)
    narrow, wide = int(dataset.width[0]), int(dataset.width[-1])
    count = f"{dataset.sizes['pair']} pairs a width"
    lows = [np.subtract(*mean_interval(row)) for row in before.values]
    left = (after / before).isel(width=-1)
    left_mean, left_half = mean_interval(left)
    # A rank correlation supposes no law for how barriers fall; of equal ones there is none.
    widths = np.broadcast_to(after.width.values[:, None], after.shape)
    order, chance = 0.0, 1.0
    if np.ptp(after.values) > 0:
        order, chance = stats.spearmanr(widths.ravel(), after.values.ravel())
    # The control: matched units are in another order, and the function is the same.
    ends = dataset.line.isel(step=-1)
    changed = abs(ends.sel(how=HOW[1]) / ends.sel(how=HOW[0]) - 1).max(skipna=False)
    judged = [
        at_most(
            "permuting hidden units leaves the loss as it is (largest relative change)",
            "derived; rounding",
            bound=ROUNDING,
            measured=float(changed),
        ),
        Claim(
            f"as they are, minima have a barrier on the line at every width (mean over {count})",
            AINSWORTH,
            "every interval above 0",
            f"{show_mean(before[0])} at width {narrow}, {show_mean(before[-1])} at {wide}",
            min(lows) > 0,
        ),
        Claim(
            f"at width {wide} matching leaves at most {100 * LEFT:g} % of it",
            AINSWORTH + " (none is left at width 512); bound from trial runs",
            f"interval of matched over not below {LEFT}",
            show_mean(left),
            left_mean + left_half <= LEFT,
        ),
        Claim(
            f"matched, the barrier is the lower the wider the network ({count})",
            AINSWORTH,
            "rank correlation of width and barrier below 0, p < 0.05",
            f"{order:.2f}, p = {chance:.1g}; {show_mean(after[0])} at width {narrow}, "
            f"{show_mean(after[-1])} at {wide}",
            order < 0 and chance < 0.05,
        ),
    ]
    return judged + _pass_claims(dataset)


def certified(dataset: xr.Dataset) -> np.ndarray:
    """Return between which minima there is a pass: found, of index 1, above both, near the top."""
    ends = dataset.path.isel(image=0), dataset.path.isel(image=-1)
    higher = np.maximum(*ends)
    top = dataset.path.max("image", skipna=False)
    rise = dataset.saddle_value - higher
    near = rise <= (1 + ABOVE_TOP) * (top - higher)
    apart = dataset.apart > ONE_MINIMUM
    return (dataset.found & apart & (dataset.saddle_index == 1) & (rise >= 0) & near).values


def _pass_claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the minima of the first width, the paths between them, and what is on their tops."""
    width, seeds = int(dataset.width[0]), dataset.sizes["seed"]
    # Ends that are minima, and what a curved path leaves of the line's barrier.
    minima = int(((dataset.gradient_norm <= ROUNDING) & dataset.is_minimum).sum())
    of_line = (path_barriers(dataset) / path_lines(dataset)).sel(how=HOW[0])
    mean, half = mean_interval(of_line)
    # Tops of paths from which a saddle was found; one minimum under two names has no pass.
    apart, passes = dataset.apart > ONE_MINIMUM, certified(dataset)
    searched, count = int(apart.sum()), int(passes.sum())
    one = int((~apart.sel(how=HOW[1])).sum())
    seen = ""
    if count:
        rises = (dataset.saddle_value - dataset.path.isel(image=0)).values[passes]
        distances = dataset.distance.values[passes]
        seen = (
            f"; {rises.min():.2g} to {rises.max():.2g} above the first minimum, "
            f"{distances.min():.2g} to {distances.max():.2g} from the top"
        )
    return [
        Claim(
            f"at width {width} every end is a minimum, certified (gradient norm below {ROUNDING})",
            "derived",
            f"{seeds} of {seeds}",
            f"{minima} of {seeds}",
            minima == seeds,
        ),
        Claim(
            f"there a curved path between minima as they are has at most {100 * PATH_LEFT:g} % of "
            "the line's barrier",
            PATHS + " (almost none in large networks); bound from trial runs",
            f"interval of path over line below {PATH_LEFT}",
            show_mean(of_line),
            mean + half <= PATH_LEFT,
        ),
        Claim(
            "from the top of most paths a search ends at the pass, a certified saddle of index 1 "
            f"above both minima, at most {100 * ABOVE_TOP:g} % higher than the top; else "
            f"none is found ({one} matched pairs are one minimum, and have none)",
            "derived: a minimax path has its top at such a saddle",
            "interval above 50 %",
            show_share(count, searched) + seen if searched else "nan",
            searched > 0 and share_interval(count, searched)[0] > 0.5,
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw barriers by width, one pair's line and path, and heights of all pairs."""
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    by_width, profile, heights = figure.subplots(1, 3)
    barriers = line_barriers(dataset).transpose("how", "width", "pair")
    shift = {HOW[0]: 0.96, HOW[1]: 1.04}
    # Straight lines by width; the two ways stand side by side, so that none hides the other.
    for index, how in enumerate(HOW):
        values = np.maximum(barriers.sel(how=how).values, 1e-6)
        x = dataset.width.values * shift[how]
        by_width.plot(x, values, ".", color=f"C{index}", alpha=0.4)
        by_width.plot(x, values.mean(axis=1), "o-", color=f"C{index}", label=how)
    by_width.set(
        xscale="log",
        yscale="log",
        xlabel="hidden units",
        ylabel="barrier of the straight line (loss)",
        title="lines: mean and every pair",
    )
    by_width.set_xticks(dataset.width.values, [str(width) for width in dataset.width.values])
    by_width.minorticks_off()
    by_width.legend()
    # The pair whose path is drawn is the first.
    at = dataset.isel(width=0, pair=0, path_pair=0)
    for index, how in enumerate(HOW):
        profile.plot(at.step, at.line.sel(how=how), color=f"C{index}", label=f"line, {how}")
    share = np.linspace(0, 1, dataset.sizes["image"])
    profile.plot(share, at.path.sel(how=HOW[0]), "k.-", label="path, as they are", linewidth=1)
    if bool(at.found.sel(how=HOW[0])):
        profile.axhline(
            float(at.saddle_value.sel(how=HOW[0])), color="0.5", linestyle=":", label="its saddle"
        )
    profile.set(
        yscale="log",
        xlabel="share of the way",
        ylabel="loss",
        title=f"first pair, {int(at.width)} hidden units",
    )
    profile.legend()
    _draw_heights(heights, dataset)
    # The title states what matching and what a curved path leaves.
    left = float((barriers.sel(how=HOW[1]) / barriers.sel(how=HOW[0])).isel(width=-1).mean())
    path = float((path_barriers(dataset) / path_lines(dataset)).sel(how=HOW[0]).mean())
    figure.suptitle(
        f"Matched units leave {100 * left:.2g} % of the line's barrier at width "
        f"{int(dataset.width[-1])}; a curved path leaves {100 * path:.2g} % at width "
        f"{int(dataset.width[0])}"
    )
    return figure


def _draw_heights(axes: Any, dataset: xr.Dataset) -> None:
    """Draw for every pair of the first width how high line, path and saddle lie above the ends."""
    lines, paths = path_lines(dataset), path_barriers(dataset)
    ends = (dataset.path.isel(image=0) + dataset.path.isel(image=-1)) / 2
    pairs = np.arange(dataset.sizes["path_pair"]) + 1
    marks = (
        ("line", lines, "_"),
        ("path", paths, "o"),
        ("saddle", dataset.saddle_value - ends, "x"),
    )
    for index, how in enumerate(HOW):
        x = pairs + (-0.12, 0.12)[index]
        for name, values, marker in marks:
            shown = values.sel(how=how).where(dataset.apart.sel(how=how) > ONE_MINIMUM)
            style = {"color": f"C{index}", "markersize": 8, "fillstyle": "none"}
            axes.plot(x, shown, marker, label=f"{name}, {how}", **style)
    axes.set(
        yscale="log",
        xlim=(0.5, len(pairs) * 1.7),
        xlabel="pair (matched ones without marks are one minimum)",
        ylabel="above the mean of the two minima (loss)",
        title=f"heights, {int(dataset.width[0])} hidden units",
    )
    axes.set_xticks(pairs)
    axes.legend(fontsize=8, loc="center right")

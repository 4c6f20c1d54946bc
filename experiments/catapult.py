"""Between 2 and 4 over the sharpness gradient descent first climbs, then lands where it is flatter.

Two parts. The model of the paper: a linear network of one hidden layer of width n, one example,
squared loss, f = v.u / sqrt(n) to be 0. With the curvature lambda = (|u|^2 + |v|^2) / n of f,
gradient descent of rate eta is exactly

    f'      = f (1 - eta lambda + eta^2 f^2 / n)
    lambda' = lambda + (eta f^2 / n) (eta lambda - 4)

Below eta lambda = 2 the loss falls and lambda stays as it is, up to 1/n ("lazy"). Between 2 and 4
the loss grows until f^2 is of the order of n; then the second line lowers lambda below 2 / eta, and
all converges: the catapult. Above 4 both grow without end.

And networks of one hidden layer of tanh on digits, from several starts, full batch, squared loss,
whose largest eigenvalue of the Hessian (Lanczos, with its residual) takes lambda's place, at the
model's rates. What is exact above is a rough guide there: other directions lower the loss
meanwhile, so that it need not rise above the start where it is thrown, and the region in which it
is need not end at 4 (for ReLU networks the paper sees some 12). Warm-up does slowly what the
catapult does at once: at a rate from which the network diverges when it begins with it (chosen with
seed 1000), it trains if the rate is raised to it linearly, and is flatter then than after as many
steps at a small rate.

Lewkowycz, Bahri, Dyer, Sohl-Dickstein and Gur-Ari (2020), https://arxiv.org/abs/2003.02218; of
warm-up Gilmer, Ghorbani, Garg et al. (2021), https://arxiv.org/abs/2110.04369.

Section: Descent and rates
Command: python -m experiments run catapult
Cost: quick 27 s of processor time, with compiled programs at hand (2 minutes beside much else);
    paper not run since it has three starts, some 20 min of processor time
Last result: 20 of 23 claims hold: the model does as the paper says, at 3 and 3.5 over the sharpness
    the loss of 4 of 5 networks rises above the start's and falls then, at 2.5 of none, where all
    are flatter all the same (2026-11-29, quick, 2 busy cores)
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import observables, transforms

from .lab.claims import Claim, at_least, at_most
from .lab.fields import Checked, Seed, a_folder, above, minimum, one_of
from .lab.full_batch import IMAGES, FullBatch, check_images, full_batch
from .lab.progress import track
from .lab.statistics import show_share

SOURCE = "Lewkowycz et al. 2020"
MODEL, NETWORK, GILMER = SOURCE + ", section 2", SOURCE + ", section 3", "Gilmer et al. 2021"
TRIAL = "; bound: half of what a trial run with seed 1000 showed, {:g}"
TRIAL_PEAK, TRIAL_LANDED, TRIAL_WARM, TRIAL_FLATTER = 44.0, 0.09, 0.1, 0.32
"""Of a trial run of `quick` with seed 1000 the least and the largest: the model's highest loss over
its start's, what was left of the network's after the catapult, after warm-up, and of the sharpness
by warm-up. Half of the logarithms is asked for."""
STAYS = 1 - 2 * 0.0031
"""What lambda keeps at least: up to 1/n in theory, all but 0.0031 of it in the trial run."""


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Rates in units of one over the curvature at the start, sizes and lengths."""

    width: Annotated[int, minimum(2)] = 1024
    """Hidden width of the model."""
    model_rates: tuple[Annotated[float, above(0)], ...] = (0.5, 1.0, 1.5, 2.5, 3.0, 3.5, 4.5)
    """Rates of the model, times lambda at the start."""
    model_steps: Annotated[int, minimum(1)] = 200
    """Steps of the model."""
    dataset: Annotated[str, one_of(IMAGES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    images: Annotated[int, minimum(1)] = 300
    """Images of the network, all in every step."""
    hidden: tuple[Annotated[int, minimum(1)], ...] = (128,)
    """Widths of the hidden tanh layers."""
    rates: tuple[Annotated[float, above(0)], ...] = (1.0, 2.5, 3.0, 3.5)
    """Rates of the network, times the sharpness at the start."""
    starts: Annotated[int, minimum(2)] = 5
    """Starts of the network."""
    steps: Annotated[int, minimum(8)] = 300
    """Steps of the network."""
    every: Annotated[int, minimum(1)] = 3
    """Steps between looks at the network."""
    warm_up_rate: Annotated[float, above(0)] = 8.0
    """The rate that warm-up leads to, times the sharpness at the start."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check that the data set has the images."""
        super().__post_init__()
        check_images(self.dataset, self.images)

    @classmethod
    def quick(cls) -> "Config":
        """Model of width 1,024; 300 digits, 128 hidden units."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Model of width 16,384; all digits, 1,024 hidden units."""
        return cls(width=16_384, images=1797, hidden=(1024,), steps=1000, starts=3)


def train_model(config: Config) -> xr.Dataset:
    """Train the paper's model at every rate; f and lambda after every step."""
    keys = jax.random.split(jax.random.key(config.seed))
    start = [jax.random.normal(key, (config.width,)) for key in keys]
    root = np.sqrt(config.width)

    def output(params):
        return params[0] @ params[1] / root

    def curvature(params, *_):
        return sum(leaf @ leaf for leaf in params) / config.width

    first = curvature(start)

    @jax.jit
    @jax.vmap
    def train(rate):
        return transforms.path(
            lambda params: output(params) ** 2 / 2,
            optax.sgd(rate),
            start,
            config.model_steps,
            observe={"curvature": curvature},
        )

    run = train(jnp.asarray(config.model_rates) / first)
    rates = np.asarray(config.model_rates)
    return xr.Dataset(
        {
            "model_loss": (("model_rate", "model_step"), np.asarray(run.value)),
            "model_curvature": (
                ("model_rate", "model_step"),
                np.asarray(run.observed["curvature"]) / float(first),
            ),
        },
        coords={"model_rate": rates, "model_step": np.asarray(run.steps[0])},
    )


def train_network(config: Config, network: FullBatch) -> xr.Dataset:
    """Train from every start at every rate, and to the warm-up's rate with warm-up and without."""
    multiples = jnp.asarray([*config.rates, config.warm_up_rate])
    constant = jnp.broadcast_to(multiples[:, None], (multiples.size, config.steps))
    raised = config.warm_up_rate * jnp.linspace(0, 1, config.steps // 2)
    warm = jnp.full(config.steps, config.warm_up_rate).at[: raised.size].set(raised)
    rates = jnp.concatenate([constant, warm[None]])

    def train(fun, start, rates):
        return transforms.path(
            fun,
            optax.sgd(lambda step: rates[step]),
            start,
            config.steps,
            every=config.every,
            observe={"sharpness": observables.sharpness(tolerance=1e-2)},
        )

    # The data are arguments: as constants they would be folded into the program for minutes. One
    # run after another: side by side every look would take as many products as the slowest.
    @jax.jit
    def from_start(fun, start):
        first = observables.sharpness()(start, None, fun).value[0]
        runs = jax.lax.map(lambda own: train(fun, start, own), rates / first)
        seen = runs.observed["sharpness"]
        values = runs.value, seen.value[..., 0] / first, seen.error[..., 0] / first
        return runs.steps[0], jnp.stack(values)

    key = jax.random.key(config.seed)
    keys = [key, *(jax.random.fold_in(key, i) for i in range(1, config.starts))]
    found = [from_start(network.fun, network.init(one)) for one in track(keys, "starts")]
    values = np.stack([of_start for _, of_start in found], axis=1)
    names = [f"{rate:g}" for rate in config.rates] + ["no warm-up", "warm-up"]
    return xr.Dataset(
        {
            name: (("start", "run", "step"), one)
            for name, one in zip(("loss", "sharpness", "residual"), values, strict=True)
        }
        | {
            "rate": ("run", np.asarray([*config.rates, *[config.warm_up_rate] * 2])),
            "warm_up_steps": raised.size,
        },
        coords={"run": names, "step": np.asarray(found[0][0])},
    )


def run(config: Config) -> xr.Dataset:
    """Train the model and the network."""
    network = full_batch(config.dataset, config.images, config.hidden, folder=config.data_folder)
    return xr.merge([train_model(config), train_network(config, network)])


def _highest(loss: xr.DataArray) -> float:
    """Return the largest loss over that at the start; infinite where it is no more a number."""
    values = loss.values / loss.values[0]
    if not np.isfinite(loss.values[0]):
        return float("nan")
    return float(values.max()) if np.isfinite(values).all() else float("inf")


def _of_model(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of the model with one scalar curvature, at every rate."""
    judged = []
    for rate in dataset.model_rate.values:
        part = dataset.sel(model_rate=rate)
        # How high the loss is thrown and where it lands, both over its start; the last curvature.
        loss, end = part.model_loss, float(part.model_curvature[-1])
        peak, landed = _highest(loss), float(loss[-1] / loss[0])
        title, lost = f"the model at {rate:g} / lambda", not np.isfinite(float(loss[-1]))
        # Below 2 / lambda it converges, up to 4 / lambda it is thrown, beyond that it diverges.
        if rate < 2:
            judged += [
                at_most(f"{title}: the loss never rises", MODEL, bound=1.0, measured=peak),
                at_least(
                    f"{title}: lambda stays (its end over its start)",
                    MODEL,
                    bound=STAYS,
                    measured=end,
                ),
            ]
        elif rate < 4:
            judged += [
                Claim(
                    f"{title}: the loss is thrown up, and lands",
                    MODEL + TRIAL.format(TRIAL_PEAK),
                    f"above {TRIAL_PEAK**0.5:.2g} times the start, at the end below a thousandth",
                    f"{peak:.3g} times the start, {landed:.2g} at the end",
                    holds=TRIAL_PEAK**0.5 < peak < np.inf and landed < 1e-3,
                ),
                at_most(
                    f"{title}: lambda lands below 2 / eta (times eta)",
                    MODEL,
                    bound=2.0,
                    measured=end * float(rate),
                ),
            ]
        else:
            judged.append(
                Claim(
                    f"{title}: it diverges",
                    MODEL,
                    "no finite loss at the end",
                    "diverged" if lost else f"loss {float(loss[-1]):.3g}",
                    holds=lost,
                )
            )
    return judged


def _in_every_start(
    dataset: xr.Dataset, statement: str, source: str, held: np.ndarray, *, more: str, seen: str
) -> Claim:
    """Claim that something holds in every start, with their number."""
    starts, count = dataset.sizes["start"], int(np.sum(held))
    known = np.isfinite(dataset.loss.isel(step=0)).all()
    return Claim(
        statement,
        source,
        f"{starts} of {starts}{more}",
        f"{show_share(count, starts)}{seen}" if known else "nan",
        holds=count == starts,
    )


def _of_network(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of the network, at every constant rate, from every start."""
    judged = []
    for name in dataset.run.values[:-2]:
        part = dataset.sel(run=name)
        rate = float(part.rate)
        title = f"the network at {rate:g} / sharpness"
        if rate < 2:
            peaks = np.array([_highest(one[:8]) for one in part.loss])
            judged.append(
                _in_every_start(
                    part,
                    f"{title}: the loss does not rise at once (first looks, starts)",
                    NETWORK,
                    peaks <= 1,
                    more="",
                    seen=f"; highest over the start's {_listed(peaks)}",
                )
            )
            continue
        peaks, bound = np.array([_highest(one) for one in part.loss]), TRIAL_LANDED**0.5
        landed = (part.loss[:, -1] / part.loss[:, 0]).values
        judged += [
            _in_every_start(
                part,
                f"{title}: the loss is thrown up, and falls then (starts)",
                NETWORK + TRIAL.format(TRIAL_LANDED),
                (peaks > 1) & np.isfinite(peaks) & (landed < bound),
                more=f", above the start's, at the end below {bound:.2g} of it",
                seen=f"; highest over the start's {_listed(peaks)}",
            ),
            at_most(
                f"{title}: the sharpness is thrown below 2 / eta (its lowest times eta, the "
                "largest of the starts)",
                NETWORK,
                bound=2.0,
                measured=float(part.sharpness.min("step", skipna=False).max(skipna=False)) * rate,
            ),
        ]
    return judged


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _of_warm_up(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed with and without a warm-up, at the same rate, and of the precision."""
    warm, cold = dataset.sel(run="warm-up"), dataset.sel(run="no warm-up")
    small = dataset.isel(run=int(np.argmin(dataset.rate.values)))
    after = int(np.searchsorted(dataset.step.values, int(dataset.warm_up_steps)))
    left, kept = ((one.loss[:, -1] / one.loss[:, 0]).values for one in (cold, warm))
    flatter = (warm.sharpness[:, after] / small.sharpness[:, after]).values
    known = dataset.sel(run=[name for name in dataset.run.values if name != "no warm-up"])
    bound = TRIAL_WARM**0.5
    return [
        _in_every_start(
            warm,
            f"at {float(warm.rate):g} / sharpness the network is lost at once, and trains after a "
            "warm-up (starts)",
            GILMER + ", section 4" + TRIAL.format(TRIAL_WARM),
            ~(left < 1) & (kept < bound),
            more=f", without no loss below the start's, with at the end below {bound:.2g} of it",
            seen=f"; with {_listed(kept)} of the start's",
        ),
        at_most(
            "warm-up lowers the sharpness (at its end, over that after as many steps at the "
            "smallest rate, the largest of the starts)",
            GILMER + ", section 4" + TRIAL.format(TRIAL_FLATTER),
            bound=TRIAL_FLATTER**0.5,
            measured=float(np.max(flatter)),
        ),
        at_most(
            "the sharpness is known well enough (largest residual over the sharpness)",
            "residuals of Lanczos's method, asked for to 0.01",
            bound=0.02,
            measured=float((known.residual / known.sharpness).max(skipna=False)),
        ),
    ]


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the three regions of the model, the network's, and warm-up."""
    return _of_model(dataset) + _of_network(dataset) + _of_warm_up(dataset)


def plot(dataset: xr.Dataset) -> Figure:
    """Draw losses and curvatures of model and network."""
    figure = Figure(figsize=(11, 6.4))
    grid = figure.subplots(2, 3, sharex="col")
    network = dataset.isel(start=0)
    # A rate has one colour in all panels.
    names = [f"{rate:g}" for rate in dataset.model_rate.values] + list(dataset.run.values[:-2])
    colours = {name: f"C{k}" for k, name in enumerate(sorted(set(map(str, names))))}
    for rate in dataset.model_rate.values:
        part, label = dataset.sel(model_rate=rate), f"{rate:g}"
        # Losses of 1 - r and 1 + r over the curvature fall alike: one of the two lets the other be
        # seen.
        style = {"color": colours[label], "linestyle": (0, (3, 2)) if 1 < rate < 2 else "-"}
        grid[0, 0].plot(part.model_step, part.model_loss / part.model_loss[0], label=label, **style)
        grid[1, 0].plot(part.model_step, part.model_curvature * rate, label=label, **style)
    grid[0, 0].set(yscale="log", ylim=(1e-12, 1e6), xlim=(0, 60), title="the paper's model")
    grid[0, 0].set(ylabel="loss over that at the start")
    grid[1, 0].set(ylim=(0, 5), xlabel="step", ylabel="rate times curvature")
    for names, (top, bottom), title in (
        (dataset.run.values[:-2], grid[:, 1], "a network, first start"),
        (dataset.run.values[-2:], grid[:, 2], "the network, with warm-up"),
    ):
        for name in names:
            part = network.sel(run=name)
            colour = colours.get(str(name))
            top.plot(part.step, part.loss / part.loss[0], label=str(name), color=colour)
            shown = part.sharpness * part.rate if title != "the network, with warm-up" else (
                part.sharpness
            )  # fmt: skip
            bottom.plot(part.step, shown, label=str(name), color=colour)
        top.set(yscale="log", ylim=(0.05, 20), title=title)
        bottom.set(xlabel="step")
    grid[1, 1].set(ylim=(0, 5), ylabel="rate times sharpness")
    grid[1, 2].set(ylim=(0, 2), ylabel="sharpness over that at the start")
    for axes in (grid[1, 0], grid[1, 1]):
        axes.axhline(2, color="0.3", linestyle="--", linewidth=1)
    grid[1, 2].axhline(
        2 / dataset.rate.values[-1],
        color="0.3",
        linestyle="--",
        linewidth=1,
        label="2 over the largest rate",
    )
    grid[1, 2].legend(fontsize=7)
    # The colours of both panels of a column, where there is room for them.
    handles, labels = grid[0, 0].get_legend_handles_labels()
    title = "rate, times the curvature at the start"
    grid[1, 0].legend(handles, labels, title=title, ncols=4, fontsize=7, loc="upper right")
    grid[0, 1].legend(title="rate, times the\nsharpness at the start", fontsize=7, ncols=2)
    grid[0, 2].legend(fontsize=7)
    thrown = [
        np.isfinite(peak := _highest(one)) and peak > 1
        for name in dataset.run.values[:-2]
        if float(dataset.rate.sel(run=name)) > 2
        for one in dataset.loss.sel(run=name)
    ]
    figure.suptitle(
        "Between 2 and 4 over the curvature the model's loss is thrown up to flatter "
        f"ground,\nthe network's in {sum(thrown)} of {len(thrown)} runs"
    )
    return figure

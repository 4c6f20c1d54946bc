"""Between 2 and 4 over the sharpness gradient descent first climbs, then lands where it is flatter.

Two parts. The model of the paper: a linear network of one hidden layer of width n, one example,
squared loss, f = v.u / sqrt(n) to be 0. With the curvature lambda = (|u|^2 + |v|^2) / n of f,
gradient descent of rate eta is exactly

    f'      = f (1 - eta lambda + eta^2 f^2 / n)
    lambda' = lambda + (eta f^2 / n) (eta lambda - 4)

Below eta lambda = 2 the loss falls and lambda stays as it is, up to 1/n ("lazy"). Between 2 and 4
the loss grows until f^2 is of the order of n; then the second line lowers lambda below 2 / eta, and
all converges: the catapult. Above 4 both grow without end.

And a network of one hidden layer of tanh on digits, full batch, squared loss, whose largest
eigenvalue of the Hessian (Lanczos, with its residual) takes lambda's place. What is exact above is
a rough guide there: other directions lower the loss meanwhile (at 2.5 it does not rise above the
start), and the region in which it is thrown and lands need not end at 4 (for ReLU networks the
paper sees some 12). Warm-up does slowly what the catapult does at once: at a rate from which
the network diverges when it begins with it, it trains if the rate is raised to it linearly, and is
flatter then than after as many steps at a small rate.

Lewkowycz, Bahri, Dyer, Sohl-Dickstein and Gur-Ari (2020), https://arxiv.org/abs/2003.02218; of
warm-up Gilmer, Ghorbani, Garg et al. (2021), https://arxiv.org/abs/2110.04369.

Section: Descent and rates
Command: python -m experiments run catapult
Cost: quick 19 s of processor time, with compiled programs at hand (47 s beside much else); paper
    9.5 min of processor time
Last result: all 25 claims hold, quick and paper; the network's rates and bounds are from trial
    runs, one seed (2026-11-29, 2 busy cores)
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

SOURCE = "Lewkowycz et al. 2020"
MODEL = SOURCE + ", section 2"


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
    rates: tuple[Annotated[float, above(0)], ...] = (0.5, 1.0, 1.5, 3.0, 3.5, 4.0)
    """Rates of the network, times the sharpness at the start."""
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
        return cls(width=16_384, images=1797, hidden=(1024,), steps=1000)


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
    """Train the network at every rate, and to the warm-up's rate with warm-up and without."""
    start = network.init(jax.random.key(config.seed))
    # The data are arguments: as constants they would be folded into the program for minutes.
    first = jax.jit(lambda fun, at: observables.sharpness()(at, None, fun).value[0])(
        network.fun, start
    )
    constant = jnp.asarray([*config.rates, config.warm_up_rate]) / first
    shape = (constant.size, config.steps)
    raised = config.warm_up_rate / first * jnp.linspace(0, 1, config.steps // 2)
    warm = jnp.full(config.steps, config.warm_up_rate / first).at[: raised.size].set(raised)
    rates = jnp.concatenate([jnp.broadcast_to(constant[:, None], shape), warm[None]])

    def train(fun, rates):
        return transforms.path(
            fun,
            optax.sgd(lambda step: rates[step]),
            start,
            config.steps,
            every=config.every,
            observe={"sharpness": observables.sharpness(tolerance=1e-2)},
        )

    # One after another: side by side every look would take as many products as the slowest.
    run = jax.jit(lambda fun, rates: jax.lax.map(lambda own: train(fun, own), rates))(
        network.fun, rates
    )
    sharpness = run.observed["sharpness"]
    names = [f"{rate:g}" for rate in config.rates] + ["no warm-up", "warm-up"]
    return xr.Dataset(
        {
            "loss": (("run", "step"), np.asarray(run.value)),
            "sharpness": (("run", "step"), np.asarray(sharpness.value)[..., 0] / float(first)),
            "residual": (("run", "step"), np.asarray(sharpness.error)[..., 0] / float(first)),
            "rate": ("run", np.asarray([*config.rates, *[config.warm_up_rate] * 2])),
            "warm_up_steps": raised.size,
        },
        coords={"run": names, "step": np.asarray(run.steps[0])},
    )


def run(config: Config) -> xr.Dataset:
    """Train the model and the network."""
    network = full_batch(config.dataset, config.images, config.hidden, folder=config.data_folder)
    return xr.merge([train_model(config), train_network(config, network)])


def _highest(loss: xr.DataArray) -> float:
    """Return the largest loss over that at the start; infinite where it is no more a number."""
    values = loss.values / loss.values[0]
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
                    bound=0.98,
                    measured=end,
                ),
            ]
        elif rate < 4:
            judged += [
                Claim(
                    f"{title}: the loss is thrown up, and lands",
                    MODEL,
                    "above 10 times the start, at the end below a thousandth of it",
                    f"{peak:.3g} times the start, {landed:.2g} at the end",
                    holds=10 < peak < np.inf and landed < 1e-3,
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


def _of_network(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of the network, at every rate and after a warm-up."""
    judged = []
    # Every constant rate, beside 2 over the sharpness at the start.
    for name in dataset.run.values[:-2]:
        part = dataset.sel(run=name)
        rate, peak = float(part.rate), _highest(part.loss)
        title = f"the network at {rate:g} / sharpness"
        if rate < 2:
            judged.append(
                at_most(
                    f"{title}: the loss does not rise at once (first looks, over the start)",
                    SOURCE + ", section 3",
                    bound=1.0,
                    measured=_highest(part.loss[:8]),
                )
            )
            continue
        lowest = float(part.sharpness.min(skipna=False)) * rate
        judged += [
            Claim(
                f"{title}: the loss is thrown up, and falls then",
                SOURCE + ", section 3",
                "above the start, at the end below half of it",
                f"{peak:.3g} times the start, {float(part.loss[-1] / part.loss[0]):.2g} at the end",
                holds=1 < peak < np.inf and float(part.loss[-1] / part.loss[0]) < 0.5,
            ),
            at_most(
                f"{title}: the sharpness is thrown below 2 / eta (times eta)",
                SOURCE + ", section 3",
                bound=2.0,
                measured=lowest,
            ),
        ]
    # With and without a warm-up, at the same rate.
    warm, cold = dataset.sel(run="warm-up"), dataset.sel(run="no warm-up")
    rate = float(warm.rate)
    small = dataset.isel(run=int(np.argmin(dataset.rate.values)))
    after = int(np.searchsorted(dataset.step.values, int(dataset.warm_up_steps)))
    lost = not np.isfinite(float(cold.loss[-1])) or float(cold.loss[-1]) > float(cold.loss[0])
    gilmer = "Gilmer et al. 2021, section 4"
    judged += [
        Claim(
            f"at {rate:g} / sharpness the network is lost at once, and trains after a warm-up",
            gilmer,
            "without, no loss below the start; with, at the end below half of it",
            f"without {float(cold.loss[-1] / cold.loss[0]):.3g} of the start, "
            f"with {float(warm.loss[-1] / warm.loss[0]):.2g}",
            holds=None if np.isnan(float(warm.loss[0])) else lost
            and bool(float(warm.loss[-1] / warm.loss[0]) < 0.5),
        ),
        at_most(
            "warm-up lowers the sharpness (at its end, over that after as many steps at the "
            "smallest rate)",
            gilmer,
            bound=0.5,
            measured=float(warm.sharpness[after] / small.sharpness[after]),
        ),
    ]  # fmt: skip
    # How well the sharpness is known.
    known = dataset.sel(run=[n for n in dataset.run.values if n != "no warm-up"])
    judged.append(
        at_most(
            "the sharpness is known well enough (largest residual over the sharpness)",
            "residuals of Lanczos's method",
            bound=0.05,
            measured=float((known.residual / known.sharpness).max(skipna=False)),
        )
    )
    return judged


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the three regions of the model, the network's, and warm-up."""
    return _of_model(dataset) + _of_network(dataset)


def plot(dataset: xr.Dataset) -> Figure:
    """Draw losses and curvatures of model and network."""
    figure = Figure(figsize=(11, 6.4))
    grid = figure.subplots(2, 3, sharex="col")
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
        (dataset.run.values[:-2], grid[:, 1], "a network on digits"),
        (dataset.run.values[-2:], grid[:, 2], "the network, with warm-up"),
    ):
        for name in names:
            part = dataset.sel(run=name)
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
    figure.suptitle("Rates between 2 and 4 over the curvature throw the loss up to flatter ground")
    return figure

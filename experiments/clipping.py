"""Clipping the gradient's norm keeps descent at a cliff that throws it off otherwise.

The cliff of Pascanu, Mikolov and Bengio: one recurrent unit `x <- w sigmoid(x) + b`, 50 steps from
x = 1/2, error `(sigmoid(x_50) - 0.7)^2`. The surface over (w, b) is flat but for a wall; gradient
descent that touches the wall is thrown far away, the same with clipped gradients descends along it.

The adding problem: a recurrent network of rectified units, recurrent matrix the identity, reads a
sequence of numbers with two of them marked and must give the sum of the two. Predicting the mean
has error 1/6. With and without clipping, from the same starts and on the same sequences.

Touching the wall is a chaotic event: where a single run on the cliff ends depends on rounding.
Hence shares of many starts, with 95 % Wilson intervals.

Section: Techniques of network training
Command: python -m experiments run clipping
Cost: quick 30 s for 10 networks; paper 3.7 min of processor time for 20 on longer sequences
Last result: quick 7 of 7 claims hold, or 6: 9 or 10 of 10 networks learn with clipping, as rounding
has it. paper 6 of 7: with clipping 94.8 % of 10,000
starts pass the cliff, without 20.8 %; without clipping 0 of 20 networks learn (20 diverge), with
it 18, not every one (2026-11-29)
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import transforms

from .lab import progress
from .lab.claims import Claim, at_least
from .lab.fields import Checked, Seed, above, minimum, number
from .lab.statistics import share_interval, show_share

BASELINE = 1 / 6
"""Error of the mean on the adding problem: the variance of the sum of two uniform numbers."""
CLIPPING = ["without clipping", "with clipping"]
WINDOW = (4.5, 7.0), (-3.5, -1.5)
"""Drawn window of (w, b), which holds the wall."""


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The cliff from many starts, and the adding problem from several seeds."""

    drawn_starts: tuple[tuple[Annotated[float, number()], Annotated[float, number()]], ...] = (
        (5.8, -2.5),
        (6.0, -2.9),
        (5.0, -2.2),
    )
    """Starts (w, b) on the cliff whose paths are drawn."""
    cliff_starts: Annotated[int, minimum(1)] = 200
    """Number of starts on the cliff, uniform in the drawn window."""
    cliff_steps: Annotated[int, minimum(1)] = 1000
    """Steps of gradient descent on the cliff."""
    learning_rate: Annotated[float, above(0)] = 0.1
    """Learning rate of gradient descent, on the cliff and for the network."""
    max_norm: Annotated[float, above(0)] = 1.0
    """Norm to which gradients are clipped."""
    resolution: Annotated[int, minimum(2)] = 200
    """Grid points along each axis of the drawn cliff."""
    networks: Annotated[int, minimum(1)] = 10
    """Number of networks."""
    units: Annotated[int, minimum(1)] = 32
    """Recurrent units."""
    sequence_length: Annotated[int, minimum(1)] = 30
    """Length of the sequences."""
    batch: Annotated[int, minimum(1)] = 50
    """Sequences a step."""
    steps: Annotated[int, minimum(1)] = 3000
    """Training steps."""
    seed: Seed = 0
    """Seed of starts and sequences."""

    @classmethod
    def quick(cls) -> "Config":
        """Ten networks."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Ten thousand starts on the cliff; twenty networks on longer sequences."""
        return cls(cliff_starts=10_000, networks=20, sequence_length=50, steps=10_000)


def cliff(params: jax.Array) -> jax.Array:
    """Return the error of the recurrent unit with parameters (w, b) after 50 steps."""
    weight, bias = params
    x = jax.lax.fori_loop(0, 50, lambda _, x: weight * jax.nn.sigmoid(x) + bias, 0.5)
    return (jax.nn.sigmoid(x) - 0.7) ** 2


def optimizers(config: Config) -> list[optax.GradientTransformation]:
    """Return gradient descent without and with clipping."""
    descent = transforms.gradient_descent(config.learning_rate)
    return [descent, optax.chain(transforms.clip_by_global_norm(config.max_norm), descent)]


def _descend_cliff(optimizer, start, steps):
    """Return iterates and errors, the start included."""

    def step(carry, _):
        params, state = carry
        error, gradient = jax.value_and_grad(cliff)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), (params, error)

    return jax.lax.scan(step, (start, optimizer.init(start)), length=steps + 1)[1]


def _adding_batch(key, batch, length):
    """Return sequences of (number, mark), shape (batch, length, 2), and the marked sums."""
    numbers_key, first_key, second_key = jax.random.split(key, 3)
    numbers = jax.random.uniform(numbers_key, (batch, length))
    first = jax.random.randint(first_key, (batch,), 0, length // 2)
    second = jax.random.randint(second_key, (batch,), length // 2, length)
    marks = jax.nn.one_hot(first, length) + jax.nn.one_hot(second, length)
    return jnp.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=1)


def _init_network(key, units):
    input_key, output_key = jax.random.split(key)
    return {
        "input": 0.1 * jax.random.normal(input_key, (2, units)),
        "recurrent": jnp.eye(units),
        "bias": jnp.zeros(units),
        "output": jax.random.normal(output_key, (units,)) / units**0.5,
        "offset": jnp.zeros(()),
    }


def _network_loss(params, sequences, sums):
    def step(hidden, inputs):
        drive = inputs @ params["input"] + hidden @ params["recurrent"]
        return jax.nn.relu(drive + params["bias"][None]), None

    hidden = jnp.zeros((sequences.shape[0], params["bias"].size))
    hidden, _ = jax.lax.scan(step, hidden, sequences.swapaxes(0, 1))
    return jnp.mean((hidden @ params["output"] + params["offset"] - sums) ** 2)


def _train(optimizer, key, config):
    """Return the loss before each step of training a network from its own key."""
    params = _init_network(key, config.units)

    def step(carry, count):
        params, state = carry
        batch_key = jax.random.fold_in(key, count)
        sequences, sums = _adding_batch(batch_key, config.batch, config.sequence_length)
        loss, gradient = jax.value_and_grad(_network_loss)(params, sequences, sums)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), loss

    return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(config.steps))[1]


def run(config: Config) -> xr.Dataset:
    """Descend the cliff and train the networks, without and with clipping."""
    data = {}
    # In single precision 50 steps of the unit leave too few digits of the gradient at the wall.
    with jax.enable_x64(True):
        data |= _run_cliff(config)
    keys = jax.random.split(jax.random.key(config.seed), config.networks)
    losses = []
    for optimizer in progress.track(optimizers(config), "networks"):
        train = jax.vmap(lambda key, o=optimizer: _train(o, key, config))
        losses.append(np.asarray(jax.jit(train)(keys)))
    data["loss"] = ("clipping", "network", "step"), np.stack(losses)
    return xr.Dataset(data, {"clipping": CLIPPING, "parameter": ["w", "b"]})


def _run_cliff(config: Config) -> dict[str, Any]:
    """Return the surface, the drawn paths, and how the runs from all starts end."""
    weights, biases = (np.linspace(*ends, config.resolution) for ends in WINDOW)
    grid = jnp.stack(jnp.meshgrid(weights, biases), axis=-1)
    height, slope = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(cliff))))(grid)
    low, high = jnp.array(WINDOW).T
    key = jax.random.key(config.seed)
    starts = jax.random.uniform(key, (config.cliff_starts, 2), minval=low, maxval=high)
    drawn = jnp.asarray(config.drawn_starts)

    def summary(optimizer, start):
        path, error = _descend_cliff(optimizer, start, config.cliff_steps)
        largest = jnp.linalg.norm(jnp.diff(path, axis=0), axis=1).max()
        return jnp.median(error[-100:]), largest

    ends, paths, errors = [], [], []
    for optimizer in optimizers(config):
        ends.append(jax.jit(jax.vmap(lambda x, o=optimizer: summary(o, x)))(starts))
        descend = jax.vmap(lambda x, o=optimizer: _descend_cliff(o, x, config.cliff_steps))
        path, error = jax.jit(descend)(drawn)
        paths.append(path)
        errors.append(error)
    final, largest = np.swapaxes(np.array(ends), 0, 1)
    return {
        "w": ("w", weights),
        "b": ("b", biases),
        "height": (("b", "w"), np.asarray(height)),
        "slope": (("b", "w"), np.linalg.norm(slope, axis=-1)),
        "path": (("clipping", "drawn", "time", "parameter"), np.array(paths)),
        "error": (("clipping", "drawn", "time"), np.array(errors)),
        "final_error": (("clipping", "start"), final),
        "largest_step": (("clipping", "start"), largest),
    }


def final_losses(dataset: xr.Dataset) -> xr.DataArray:
    """Return the mean loss of the last 100 steps; NaN once a network has diverged."""
    return dataset.loss.isel(step=slice(-100, None)).mean("step", skipna=False)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the cliff and the networks."""
    pascanu = "Pascanu, Mikolov and Bengio 2013, section 2.3 and algorithm 1"
    # Runs that reach the minimum of the cliff, and networks that learn, without and with clipping.
    runs = dataset.sizes["start"]
    reached = [int(count) for count in (dataset.final_error < 0.01).sum("start")]
    final = final_losses(dataset)
    total = final.sizes["network"]
    trained = (final < BASELINE / 2).sum("network")
    lost = int(final.sel(clipping=CLIPPING[0]).isnull().sum())
    return [
        # The cliff: what it does to descent, and that clipping helps.
        at_least(
            "the cliff is a wall in a plain: largest gradient norm over the median",
            pascanu,
            bound=1e3,
            measured=float(dataset.slope.max(skipna=False) / dataset.slope.median(skipna=False)),
        ),
        at_least(
            "without clipping the wall throws descent far: median of the runs' largest steps",
            pascanu,
            bound=1.0,
            measured=float(dataset.largest_step.sel(clipping=CLIPPING[0]).median(skipna=False)),
        ),
        Claim(
            "without clipping at most a third of random starts on the cliff reach error 0.01",
            pascanu,
            "interval below 33 %",
            show_share(reached[0], runs),
            share_interval(reached[0], runs)[1] < 1 / 3,
        ),
        Claim(
            "with clipping at least four fifths of the same starts do",
            pascanu,
            "interval above 80 %",
            show_share(reached[1], runs),
            share_interval(reached[1], runs)[0] > 0.8,
        ),
        # The recurrent networks, both ways from the same starts and on the same data.
        Claim(
            "no recurrent network learns the adding problem without clipping",
            pascanu,
            f"0 of {total} below half the error of the mean",
            f"{int(trained[0])} of {total}; {lost} diverged to NaN",
            int(trained[0]) == 0,
        ),
        Claim(
            "most recurrent networks learn it with clipping, from the same starts and data",
            pascanu,
            "interval above 50 % below half the error of the mean, 1/12",
            f"{show_share(int(trained[1]), total)}; worst {_worst(final[1])}",
            share_interval(int(trained[1]), total)[0] > 0.5,
        ),
        Claim(
            "every one of them does",
            pascanu,
            f"{total} of {total}",
            f"{int(trained[1])} of {total}",
            int(trained[1]) == total,
        ),
    ]


def _worst(losses: xr.DataArray) -> str:
    """Write the largest loss, or that a network diverged."""
    worst = float(losses.max(skipna=False))
    return f"{worst:.3f}" if np.isfinite(worst) else "diverged"


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the cliff with the paths, their errors, and the networks' losses."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    surface, errors, losses = figure.subplots(1, 3)
    surface.pcolormesh(
        dataset.w, dataset.b, dataset.height, cmap="Greys", vmax=0.5, rasterized=True
    )
    for name, colour in zip(CLIPPING, ("C1", "C0"), strict=True):
        one = dataset.sel(clipping=name)
        for i in range(dataset.sizes["drawn"]):
            path = one.path.isel(drawn=i).values
            draw.path(path, ax=surface, color=colour, lw=1.2, marker=".", ms=3)
            label = name if i == 0 else None
            smooth = one.error.isel(drawn=i).rolling(time=25).median()
            errors.semilogy(smooth, color=colour, lw=1.2, label=label)
        # Medians of 50 steps: single spikes, of which there are many, would hide the rest.
        looks = np.arange(49, dataset.sizes["step"], 25)
        typical = one.loss.rolling(step=50).median().isel(step=looks).transpose("network", "step")
        if typical.notnull().any():
            draw.band(looks, typical, ax=losses, color=colour)
    surface.plot(*dataset.path.isel(clipping=0, time=0).T, "k*", ms=10)
    surface.set(
        xlim=WINDOW[0], ylim=WINDOW[1], xlabel="w", ylabel="b", title="the cliff (dark: high error)"
    )
    errors.set(ylim=(1e-7, 1), title="from the three starts")
    errors.set(xlabel="step", ylabel="error (median of 25 steps)")
    errors.legend(loc="lower left")
    losses.axhline(BASELINE, color="black", lw=0.8, ls=":")
    right_above = {"xycoords": losses.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    losses.annotate("prediction of the mean", (1, BASELINE), **right_above)
    total = dataset.sizes["network"]
    diverged = int(dataset.loss.sel(clipping=CLIPPING[0]).isnull().any("step").sum())
    losses.set(
        xlabel="training step",
        ylabel="loss (median, 10 to 90 %)",
        yscale="log",
        title=f"adding problem, {total} networks"
        + (f"\nwithout clipping {diverged} diverge" if diverged else ""),
    )
    reached = (dataset.final_error < 0.01).mean("start").values
    learnt = (final_losses(dataset) < BASELINE / 2).sum("network").values
    figure.suptitle(
        f"Clipping takes {reached[1]:.0%} of starts past the cliff, not {reached[0]:.0%}; "
        f"{learnt[1]} of {total} networks learn, not {learnt[0]}"
    )
    return figure

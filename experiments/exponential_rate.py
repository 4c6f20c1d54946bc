r"""With batch normalization, weight decay is the same as a learning rate that grows exponentially.

A network whose every layer is followed by batch normalization (without scale and bias, epsilon 0)
computes the same function whatever the size of its weights. SGD with momentum gamma, weight decay
lambda and constant rate eta,

    m[t+1] = gamma m[t] + g(w[t]) + lambda w[t],    w[t+1] = w[t] - eta m[t+1],

then goes through the same functions as SGD without decay at the rates

    eta[t] = eta alpha^(-2 t - 1),    m[0] = -(1 - alpha) w[0] / (eta alpha),

where alpha is the larger root of `x^2 - (1 + gamma - lambda eta) x + gamma = 0`; its weights are
`alpha^-t w[t]`. Both are run side by side on the same batches of digits, in double precision, and
their outputs compared on the test images (batch statistics). Controls, each wrong in one thing:
momentum started at zero, the growth that forgets momentum, neither growth nor decay, and epsilon
1e-5 in both networks.

Li and Arora (2020), https://arxiv.org/abs/1910.07454, theorem 2.

Section: Techniques of network training
Command: python -m experiments run exponential_rate
Cost: quick 36 s of processor time, compilation included, on 2 cores
Last result: all 6 claims hold; largest difference 6e-14 in 500 steps, 5 seeds (2026-11-30, quick)
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import theory
from jaxopt_course.nn import MLP, BatchNorm, functional_view
from jaxopt_course.training import cross_entropy

from .lab import data, progress
from .lab.claims import Claim, at_most
from .lab.fields import Checked, Seed, a_folder, above, between, minimum, one_of
from .lab.statistics import show_every

EXACT = "exponential rate"
CONTROLS = ("momentum from zero", "growth without momentum", "constant rate", "epsilon 1e-5")


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Network and optimizer."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    seeds: Annotated[int, minimum(2)] = 5
    """Networks, each with its own batches."""
    hidden: tuple[Annotated[int, minimum(1)], ...] = (128, 128)
    """Widths of the hidden layers."""
    steps: Annotated[int, minimum(1)] = 500
    """Steps of training."""
    batch_size: Annotated[int, minimum(1)] = 100
    """Examples a step."""
    learning_rate: Annotated[float, above(0)] = 0.1
    """Rate eta of the run with weight decay."""
    momentum: Annotated[float, between(0, 1)] = 0.9
    """Momentum gamma."""
    weight_decay: Annotated[float, minimum(0)] = 5e-3
    """Weight decay lambda."""
    seed: Seed = 0
    """Seed of all keys."""

    def __post_init__(self) -> None:
        """Check that alpha is real."""
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        limit = (1 - self.momentum**0.5) ** 2
        if self.weight_decay * self.learning_rate > limit:
            raise ValueError(
                f"weight_decay times learning_rate must be at most (1 - sqrt(momentum))^2 = "
                f"{limit:.4g}, got {self.weight_decay * self.learning_rate:.4g}"
            )

    @classmethod
    def quick(cls) -> "Config":
        """Five hundred steps on scikit-learn's digits."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The paper's rate, momentum and weight decay on CIFAR-10."""
        return cls(dataset="cifar10", data_folder="data/cifar10", weight_decay=5e-4, steps=2000)


@dataclasses.dataclass(frozen=True)
class Rule:
    """SGD with momentum, at rates that grow by a factor a step.

    Attributes:
        rate: The rates, and the momentum at the start.
        weight_decay: lambda.
        epsilon: Of batch normalization.
    """

    rate: theory.ExponentialRate
    weight_decay: float = 0.0
    epsilon: float = 0.0


def exact_rate(config: Config) -> theory.ExponentialRate:
    """Return the rates and the momentum that replace weight decay."""
    return theory.exponential_rate(
        learning_rate=config.learning_rate,
        decay=config.momentum,
        weight_decay=config.weight_decay,
    )


def rules(config: Config) -> dict[str, Rule]:
    """Return the run with weight decay (first) and those that are compared with it."""
    eta = config.learning_rate
    exact = exact_rate(config)
    constant = theory.exponential_rate(learning_rate=eta, decay=config.momentum, weight_decay=0.0)
    naive = 1 - eta * config.weight_decay
    without_momentum = exact._replace(learning_rate=eta / naive, growth=naive**-2)
    return {
        "weight decay": Rule(constant, weight_decay=config.weight_decay),
        EXACT: Rule(exact),
        "momentum from zero": Rule(exact._replace(initial_momentum=0.0)),
        "growth without momentum": Rule(without_momentum),
        "constant rate": Rule(constant),
        "epsilon 1e-5": Rule(exact, epsilon=1e-5),
    }


def _train(config: Config, rule: Rule, features, key, train, test_images):
    """Return the outputs on the test images after every step, and the final weights."""
    normalization = functools.partial(
        BatchNorm, epsilon=rule.epsilon, use_scale=False, use_bias=False
    )
    model = MLP(
        features,
        normalization=normalization,
        normalize_output=True,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(key),
    )
    apply, params, state = functional_view(model)
    optimizer = optax.chain(
        optax.add_decayed_weights(rule.weight_decay),
        optax.trace(config.momentum),
        optax.scale_by_learning_rate(rule.rate.schedule),
    )
    opt_state = optimizer.init(params)
    momentum = jax.tree.map(lambda w: rule.rate.initial_momentum * w, params)
    opt_state = optax.tree.set(opt_state, trace=momentum)
    images, labels = train

    def step(carry, step_key):
        params, opt_state = carry
        # Not a whole permutation a step: sampling with replacement is the same for all rules.
        chosen = jax.random.randint(step_key, (config.batch_size,), 0, len(labels))

        def loss(params):
            outputs, _ = apply(params, state, images[chosen], train=True)
            return cross_entropy(outputs, labels[chosen]).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        params = optax.apply_updates(params, updates)
        outputs, _ = apply(params, state, test_images, train=True)  # pyrefly: ignore
        return (params, opt_state), outputs

    keys = jax.random.split(jax.random.fold_in(key, 1), config.steps)
    (params, _), outputs = jax.lax.scan(step, (params, opt_state), keys)
    return outputs, optax.tree.norm(params)


def run(config: Config) -> xr.Dataset:
    """Run every rule from the same weights on the same batches."""
    loaded = data.load(config.dataset, config.data_folder).standardized()
    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    differences, ratios = [], []
    with jax.enable_x64(True):
        images, test_images = (
            jnp.asarray(split.images.reshape(len(split.labels), -1), jnp.float64)
            for split in (loaded.train, loaded.test)
        )
        train = images, jnp.asarray(loaded.train.labels)
        features = (images.shape[1], *config.hidden, 10)
        test_images = test_images[:300]

        def train_by(rule: Rule) -> list:
            one = jax.jit(functools.partial(_train, config, rule, features))
            return [jax.device_get(one(key, train, test_images)) for key in keys]

        decayed = rules(config)["weight decay"]
        references = {0.0: train_by(decayed)}
        for name in progress.track([EXACT, *CONTROLS], "rules"):
            rule = rules(config)[name]
            # What is compared has the same epsilon.
            if rule.epsilon not in references:
                references[rule.epsilon] = train_by(
                    dataclasses.replace(decayed, epsilon=rule.epsilon)
                )
            pairs = list(zip(train_by(rule), references[rule.epsilon], strict=True))
            differences.append([np.abs(a - b).max(axis=(1, 2)) for (a, _), (b, _) in pairs])
            ratios.append([a / b for (_, a), (_, b) in pairs])
    return xr.Dataset(
        {
            "difference": (("rule", "seed", "step"), np.array(differences)),
            "norm_ratio": (("rule", "seed"), np.array(ratios)),
        },
        coords={"rule": [EXACT, *CONTROLS], "step": np.arange(1, config.steps + 1)},
        attrs={
            "alpha": exact_rate(config).contraction,
            "steps": config.steps,
        },
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the equality, the size of the weights, and the controls."""
    source = "Li and Arora 2020, theorem 2"
    alpha, steps = dataset.attrs["alpha"], dataset.attrs["steps"]
    seeds = dataset.sizes["seed"]
    growth = alpha**-steps
    ratio = dataset.norm_ratio.sel(rule=EXACT) / growth - 1
    result = [
        at_most(
            f"exponential rate and start momentum: outputs equal those with weight decay "
            f"(largest difference in {steps} steps, {seeds} seeds)",
            source,
            bound=1e-10,
            measured=float(dataset.difference.sel(rule=EXACT).max(skipna=False)),
        ),
        at_most(
            f"its weights are alpha^-{steps} = {growth:.4g} times as large (relative error)",
            source,
            bound=1e-10,
            measured=float(abs(ratio).max(skipna=False)),
        ),
    ]
    for rule in CONTROLS:
        last = dataset.difference.sel(rule=rule).isel(step=-1)
        result.append(
            Claim(
                f"control, {rule}: outputs differ after {steps} steps",
                "control",
                "above 0.01, every seed",
                show_every(last, last > 1e-2),
                bool((last > 1e-2).all()),
            )
        )
    return result


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the difference of outputs over steps."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    for index, rule in enumerate(dataset.rule.values):
        difference = dataset.difference.sel(rule=rule)
        runs = difference.transpose("seed", "step")
        # Growth without momentum and a constant rate end alike: dashes show both.
        look = {"color": f"C{index}", "ls": "--" if rule == "constant rate" else "-"}
        draw.band(dataset.step, runs, quantiles=(0, 1), label=rule, ax=axis, **look)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="step",
        ylabel="largest difference of outputs",
        title="against SGD with weight decay; median and range of seeds",
    )
    axis.legend()
    largest = float(dataset.difference.sel(rule=EXACT).max())
    figure.suptitle(
        f"With an exponential learning rate outputs equal those with weight decay to {largest:.0e}"
    )
    return figure

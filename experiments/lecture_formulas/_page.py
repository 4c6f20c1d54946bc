"""The documentation page "Lecture formulas and the papers'", filled with measurements."""

import dataclasses

import xarray as xr

from ._forms import DECAY

HEAD = """\
# Lecture formulas and the papers'

Some formulas of the lecture differ from those of the papers that they cite. The library implements
the papers' forms; the lecture's are reached by keyword, where there is a use for them. The
consequences were measured by the experiment `lecture_formulas`
(`python -m experiments run lecture_formulas`), which also writes this page:
`python -m experiments.lecture_formulas docs/lecture_formulas.md`.

Notation: g gradient, eta learning rate, beta momentum decay, v velocity, t step; squares, roots and
divisions of vectors are elementwise.
"""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One difference, as a section of the page.

    Attributes:
        title: Rule and difference.
        lecture: The lecture's formula.
        paper: The paper's formula.
        citation: The paper.
        keywords: The call that gives the lecture's form, in Markdown.
        consequence: What it does, measured.
    """

    title: str
    lecture: str
    paper: str
    citation: str
    keywords: str
    consequence: str

    def section(self) -> str:
        """Return the section in Markdown."""
        return f"""
## {self.title}

- Lecture: `{self.lecture}`
- Paper: `{self.paper}` ({self.citation})
- Lecture's form by keyword: {self.keywords}
- Consequence: {self.consequence}
"""


def page(dataset: xr.Dataset) -> str:
    """Return the page in Markdown.

    Args:
        dataset: What `lecture_formulas.run` returned.
    """
    return HEAD + "".join(difference.section() for difference in differences(dataset))


def differences(dataset: xr.Dataset) -> list[Difference]:
    """Every difference with its measured consequence, in the order of the lecture."""
    families = (_momentum, _adagrad_and_rmsprop, _adadelta, _adam, _layers)
    return [difference for family in families for difference in family(dataset)]


def _momentum(dataset: xr.Dataset) -> list[Difference]:
    """Heavy ball and Nesterov's method."""
    lecture, paper = dataset.sel(form="lecture"), dataset.sel(form="paper")
    constant, warm_up = (
        abs(lecture.momentum_end - paper.momentum_end).sel(schedule=name).item()
        for name in ("constant", "warm-up")
    )
    rate = dataset.learning_rate.max().item()
    growth = {
        curvature: lecture.growth.sel(learning_rate=rate, curvature=curvature).item()
        for curvature in (1.0, 2.2, 10.0)
    }
    corrected = paper.growth.sel(learning_rate=rate, curvature=10.0).item()
    return [
        Difference(
            "Heavy ball: the learning rate outside the velocity",
            "v' = beta v - g;  x' = x + eta(t) v'",
            "x' = x - eta(t) g + beta (x - x_previous)",
            "Polyak 1964",
            "`heavy_ball(rate)`",
            "This is the default, as in optax and torch; `learning_rate_in_velocity=True` gives "
            f"Polyak's. No difference at a constant rate (measured {constant:.0e}). When the rate "
            "varies, the lecture's form rescales the whole history with it: "
            f"{warm_up:.2f} apart after 20 steps on x^2/2 from 1, under a warm-up to 0.1 over 10 "
            "steps.",
        ),
        Difference(
            "Nesterov: how far to look ahead",
            "v' = beta v - g(x + beta v);  x' = x + eta v'",
            "v' = beta v - g(x + eta beta v);  x' = x + eta v'",
            "Nesterov 1983; Sutskever et al. 2013, equations 3 and 4",
            '`nesterov(rate, learning_rate_in_velocity=False, look_ahead="raw")`',
            "Looks 1/eta too far. Diverges wherever the curvature exceeds "
            "(1 + beta)/(beta + eta/2), hence (1 + beta)/beta "
            f"= {(1 + DECAY) / DECAY:.2f} at any rate. Growth a step at eta = {rate:g}, beta = "
            f"{DECAY}: {growth[1.0]:.2f} at curvature 1, {growth[2.2]:.2f} at 2.2, "
            f"{growth[10.0]:.2f} at 10, where the paper's form contracts by {corrected:.2f}.",
        ),
    ]


def _adagrad_and_rmsprop(dataset: xr.Dataset) -> list[Difference]:
    """Rules that divide by the root of a sum or an average of squares."""
    gradient, eps = dataset.attrs["gradient"], dataset.attrs["eps"]
    smallest = dataset.late_step.sel(form="lecture").isel(gradient=0).item()

    def first(rule):
        one, other = (
            dataset.first_step.sel(form=form, rule=rule).item() for form in ("lecture", "paper")
        )
        return (
            f"The first step is {one:,.0f} learning rates long instead of {other:.2f}, "
            f"at g = {gradient} and eps = {eps:g}."
        )

    return [
        Difference(
            "AdaGrad: the sum up to t - 1",
            "x' = x - eta g(t) / (sqrt(sum over s < t of g(s)^2) + eps)",
            "x' = x - eta g(t) / (sqrt(sum over s <= t of g(s)^2) + eps)",
            "Duchi, Hazan and Singer 2011, figure 1",
            '`adagrad(rate, eps=1e-8, eps_in_sqrt=False, accumulate="previous")`',
            f"The first step divides by eps. {first('AdaGrad')}",
        ),
        Difference(
            "RMSProp: the average up to t - 1",
            "x' = x - eta g(t) / sqrt(average(t-1) + eps)",
            "x' = x - eta g(t) / sqrt(average(t) + eps)",
            "Tieleman and Hinton 2012, lecture 6e, slide 29",
            '`rmsprop(rate, accumulate="previous")`',
            f"The first step divides by the root of eps. {first('RMSProp')}",
        ),
        Difference(
            "RMSProp: exponent -1 instead of -1/2",
            "x' = x - eta g / (average + eps)",
            "x' = x - eta g / sqrt(average + eps)",
            "Tieleman and Hinton 2012, lecture 6e, slide 29",
            "`rmsprop(rate, exponent=-1.0)`",
            "The step goes as 1/g instead of being independent of the gradient's size: "
            f"{smallest:,.0f} learning rates at g = {dataset.gradient.values[0]:g}. Steps grow as "
            "the minimum comes near.",
        ),
    ]


def _adadelta(dataset: xr.Dataset) -> list[Difference]:
    """AdaDelta."""
    lecture = dataset.sel(form="lecture")
    largest = dataset.dimension.max().item()
    norms = lecture.adadelta_norm.sel(dimension=largest)
    small = lecture.adadelta_norm.sel(dimension=10)
    return [
        Difference(
            "AdaDelta: one average of steps for all coordinates",
            "u' = rho u + (1 - rho) ||dx||^2",
            "u' = rho u + (1 - rho) dx^2",
            "Zeiler 2012, algorithm 1",
            '`adadelta(1.0, update_average="norm")`',
            "The steps of d coordinates feed each other: once they grow, they grow by sqrt(d) a "
            f"step. On ||x||^2/2 from ones with rho = 0.95, d = {largest}: value "
            f"{0.5 * norms.values[12] ** 2:.1e} after 12 steps, ||x|| times "
            f"{(norms[40] / norms[39]).item():.2f} a step. In 10 dimensions it still converges "
            f"(||x|| = {small.values[-1]:.0e} after {norms.size - 1} steps).",
        ),
        Difference(
            "AdaDelta: the sign",
            "x' = x + sqrt(u + eps) / sqrt(average + eps) g",
            "x' = x - sqrt(u + eps) / sqrt(average + eps) g",
            "Zeiler 2012, algorithm 1",
            "`adadelta(1.0, flip_sign=False)`",
            "Climbs: the value of ||x||^2/2 rises at each of 200 steps, from "
            f"{dataset.climb.values[0]:.1f} to {dataset.climb.values[-1]:.1f}. "
            "`optax.adadelta()` with its default learning rate does the same.",
        ),
    ]


def _adam(dataset: xr.Dataset) -> list[Difference]:
    """Adam."""
    lecture, paper = dataset.sel(form="lecture"), dataset.sel(form="paper")
    ratio = lecture.adam_step / paper.adam_step
    peak = ratio.argmax("step").item()
    return [
        Difference(
            "Adam: no bias correction",
            "x' = x - eta m / sqrt(average + eps)",
            "x' = x - eta (m / (1 - b1^t)) / (sqrt(average / (1 - b2^t)) + eps)",
            "Kingma and Ba 2015, algorithm 1",
            "`adam(rate, eps=0.0, eps_root=1e-8, bias_correction=False)`",
            "Under a constant gradient the steps are (1 - b1^t)/sqrt(1 - b2^t) times the paper's: "
            f"{ratio.values[0]:.2f} at first, {ratio.values[peak]:.2f} at t = {peak + 1}, "
            f"{ratio.values[999]:.2f} at t = 1000.",
        ),
    ]


def _layers(dataset: xr.Dataset) -> list[Difference]:
    """Batch normalization and activations."""
    lecture, paper = dataset.sel(form="lecture"), dataset.sel(form="paper")
    batch = 128 if 128 in dataset.batch_size else dataset.batch_size.max().item()
    error = lecture.batch_norm_error.sel(batch_size=batch).item()
    right = paper.batch_norm_error.max().item()
    jumps = lecture.elu_jump
    return [
        Difference(
            "Batch normalization backward: the factor (z - mu)",
            "dDiv/dsigma^2 = -1/2 (sigma^2 + eps)^(-3/2) sum_j dDiv/du_j",
            "dDiv/dsigma^2 = -1/2 (sigma^2 + eps)^(-3/2) sum_j dDiv/du_j (z_j - mu)",
            "Ioffe and Szegedy 2015, section 3",
            "none: it is no derivative; `nn.batch_norm_backward` has the paper's",
            f"The gradient by the inputs is off by {100 * error:.0f} % of its size on standard "
            f"normal data in batches of {batch}, as sqrt(2/m). The paper's form agrees with "
            f"automatic differentiation to {'1e-12' if right < 1e-12 else f'{right:.0e}'}.",
        ),
        Difference(
            "ELU with a threshold: where the exponential part starts",
            "x where x > theta, alpha (exp(x) - 1) elsewhere",
            "x where x > 0, alpha (exp(x) - 1) elsewhere; with a threshold, continuous: "
            "theta + alpha (exp(x - theta) - 1)",
            "Clevert, Unterthiner and Hochreiter 2016, equation 15",
            "`elu(x, theta=theta, continuous=False)`",
            "Jumps at every threshold but 0, by theta - alpha (exp(theta) - 1): "
            f"{jumps.sel(threshold=-1.0).item():.2f} at theta = -1, "
            f"{jumps.sel(threshold=1.0).item():.2f} at theta = 1. A gradient sees no jump.",
        ),
    ]

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8. At the edge
#
# *All cells run in about 40 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# The [first notebook](1_descent_and_rates.ipynb) asks for a step of at most $1/\beta$: then every
# step lowers the loss. Networks are not trained like that. Nobody knows their $\beta$, rates are
# chosen because they work, and what then happens is stranger than the lemma: the curvature comes to
# the rate instead of the rate to the curvature.

# %%
import importlib.util

# In Colab: the address of your copy of the repository, for git clone. Elsewhere leave it empty.
REPOSITORY = ""

if importlib.util.find_spec("experiments") is None:
    assert REPOSITORY, "write the address of your copy of the repository two lines above"
    # !git clone --quiet --depth 1 {REPOSITORY} course
    # %cd -q course
    # %pip install --quiet '.[experiments]'

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from experiments.lab import notebook
from experiments.lab.full_batch import full_batch
from jaxopt_course import observables, theory, transforms

notebook.use_style()

# %% [markdown]
# ## The sharpness rises
#
# Two hundred digits, a tanh network without biases, all images in every step: plain gradient
# descent, nothing random. The **sharpness** is the largest eigenvalue of the Hessian. It needs no
# matrix: Lanczos's method asks for products with the Hessian only, and begins at the eigenvector
# that it found at the look before. `transforms.path` takes the steps and the looks in one compiled
# program.
#
# On a quadratic of curvature $\lambda$ a step multiplies $x$ by $1 - \eta\lambda$, which grows once
# $\lambda > 2/\eta$. So each rate has its line.

# %%
STEPS, EVERY = 1500, 15
network = full_batch("digits", 200, (32, 32), gain=0.5)
start = network.init(jax.random.key(0))


def train(make, rates, steps=STEPS, **observe):
    """Return the paths of `make(rate)` for all rates, with what was observed on them."""

    def paths(fun, params, rates):
        def path(rate):
            return transforms.path(fun, make(rate), params, steps, every=EVERY, observe=observe)

        return jax.lax.map(path, rates)

    return jax.jit(paths)(network.fun, start, jnp.asarray(rates))


rates = (0.1, 0.2, 0.3)
paths = train(optax.sgd, rates, sharpness=observables.sharpness())
sharpness = np.asarray(paths.observed["sharpness"].value[..., 0])
figure = Figure(figsize=(9, 3.6))
left, right = figure.subplots(1, 2)
for rate, steps, seen, loss in zip(rates, paths.steps, sharpness, paths.value, strict=True):
    (line,) = left.plot(steps, seen, lw=1)
    left.axhline(2 / rate, color=line.get_color(), ls="--", lw=1)
    right.semilogy(steps, loss, lw=1, label=f"rate {rate}")
left.set(xlabel="step", ylabel="sharpness (dashed: 2 / rate)")
right.set(xlabel="step", ylabel="loss")
right.legend()
figure.suptitle("The sharpness rises to 2 / rate and stays, while the loss goes on falling")
figure

# %% [markdown]
# Cohen et al. (2021) call the rise **progressive sharpening** (at rate 0.1 it is not over after
# 1,500 steps) and the rest the **edge of stability**. At the edge the step is unstable along the
# top eigenvector, and the loss is no longer monotone; but growing along that direction lowers the
# sharpness (by the third derivative), so that it falls back below the line: a thermostat, not a
# crash.
#
# The same for four rules, with claims, is `python -m experiments run edge_of_stability`.
#
# ## Every rule has its line
#
# A step maps parameters and the rule's state together to those after it. It is unstable where the
# linear part of that map has an eigenvalue outside the unit circle. `theory.stability_threshold`
# asks just that, of any optax rule, and knows none by its name:

# %%
RATE = 0.1
rules = {
    "gradient descent": optax.sgd(RATE),
    "heavy ball, 0.9": optax.sgd(RATE, momentum=0.9),
    "Nesterov, 0.9": optax.sgd(RATE, momentum=0.9, nesterov=True),
    "Adam": optax.adam(RATE),
}
for name, rule in rules.items():
    print(f"{name:17}{theory.stability_threshold(rule) * RATE:8.3f} / rate")

# %% [markdown]
# Adam's 38 is meant for the Hessian as Adam sees it: divided by the root of its second moments.
# This **preconditioned sharpness** is the largest eigenvalue of $PH$, where $P$ is minus the
# derivative of the rule's update in the gradient. In its units gradient descent becomes unstable at
# 2, and a rule with first moment $\beta_1$ at $2 + 2\beta_1$. Plain sharpness says nothing here.

# %%
adam = optax.adam(0.004, eps=1e-7)
path = train(
    lambda _: adam,
    [0.004],
    sharpness=observables.sharpness(),
    preconditioned=observables.preconditioned_sharpness(adam),
)
steps, seen = path.steps[0, 1:], path.observed
figure = Figure(figsize=(9, 3.4))
left, right = figure.subplots(1, 2)
left.plot(steps, seen["preconditioned"].value[0, 1:], lw=1)
left.axhline(3.8, color="0.3", ls="--", lw=1)
left.set(xlabel="step", ylabel="preconditioned sharpness", ylim=(0, 6))
right.plot(steps, seen["sharpness"].value[0, 1:, 0], lw=1)
right.set(xlabel="step", ylabel="sharpness")
figure.suptitle("Adam hovers at 3.8, seen through its own preconditioner")
figure

# %% [markdown]
# RMSProp, AdaGrad, Muon and schedule-free descent, each at its own threshold, are in
# `python -m experiments run adaptive_edge`.
#
# ## Thrown out of a valley
#
# What if the first step is beyond the line already? Lewkowycz et al. (2020) solved a case: a linear
# network of one hidden layer of width $n$, one example, $f = u\cdot v/\sqrt n$ to be 0, with
# curvature $\lambda = (\lVert u\rVert^2 + \lVert v\rVert^2)/n$. A step is exactly
#
# $$f' = f\,(1 - \eta\lambda + \eta^2 f^2/n), \qquad
#   \lambda' = \lambda + \frac{\eta f^2}{n}(\eta\lambda - 4).$$
#
# For $2 < \eta\lambda < 4$ the first factor is below $-1$: $f$ grows. Then $f^2/n$ is no longer
# small, the second equation lowers $\lambda$, and once it is below $2/\eta$ all converges.

# %%
N = 512
ends = [jax.random.normal(key, (N,)) for key in jax.random.split(jax.random.key(0))]
curvature = sum(end @ end for end in ends) / N


def catapult(multiple, steps=60):
    """Return losses and rate times curvature, for a rate of so many times 1 / curvature."""
    found = transforms.path(
        lambda params: (params[0] @ params[1]) ** 2 / (2 * N),
        optax.sgd(multiple / curvature),
        ends,
        steps,
        observe={"curvature": lambda params, *_: sum(p @ p for p in params) / N},
    )
    return found.value, found.observed["curvature"] * multiple / curvature


multiples = jnp.array([1.0, 2.5, 3.0, 3.5])
losses, curvatures = jax.vmap(catapult)(multiples)
figure = Figure(figsize=(9, 3.4))
left, right = figure.subplots(1, 2)
for multiple, loss, scaled in zip(multiples, losses, curvatures, strict=True):
    left.semilogy(loss, label=f"{multiple} / λ")
    right.plot(scaled)
left.set(xlabel="step", ylabel="loss", ylim=(1e-10, 1e4))
left.legend()
right.axhline(2, color="0.3", ls="--", lw=1)
right.set(xlabel="step", ylabel="rate times curvature")
figure.suptitle("Between 2 and 4 over the curvature the loss climbs, and lands where it is flatter")
figure

# %% [markdown]
# Networks and warm-up, which does slowly what the catapult does at once:
# `python -m experiments run catapult`.
#
# ## Exercises
#
# ### Exercise 1: how far is the edge?
#
# At rate 0.3, what will the sharpness be in the median over the last third of the training? And the
# largest it ever was?
#
# <details><summary>Solution</summary>
#
# $2/0.3 = 6.7$, up to some percent: it hovers. It exceeds that by a little only, since beyond
# the line every step is pushed back harder.
#
# ```python
# print(f"{np.median(sharpness[2, -34:]):.1f}")
# ```
#
# ```text
# 7.0
# ```
#
# </details>
#
# ### Exercise 2: momentum
#
# With heavy ball of decay 0.9 the line is at $3.8/\eta$. Which rate has the same line as gradient
# descent of rate 0.2? Is the effective rate, $\eta/(1-\beta)$, larger or smaller then?
#
# <details><summary>Solution</summary>
#
# $3.8/\eta = 2/0.2$, so $\eta = 0.38$: larger itself, and nineteen times in effect. Momentum damps
# the oscillation that makes a step unstable.
#
# ```python
# print(f"{theory.stability_threshold(optax.sgd(0.38, momentum=0.9)):.2f}")
# ```
#
# ```text
# 10.00
# ```
#
# </details>
#
# ### Exercise 3: an observable of your own
#
# How far from the start does each of the three rates go? Write the observable: a function of
# parameters, optimizer state and objective.
#
# <details><summary>Solution</summary>
#
# `observables.distance(start)` is there; by hand it is one line. The larger rate goes farther in as
# many steps.
#
# ```python
# def away(params, state, fun):
#     return optax.tree.norm(jax.tree.map(jnp.subtract, params, start))
#
# far = train(optax.sgd, rates, steps=300, away=away).observed["away"][:, -1]
# for rate, distance in zip(rates, far, strict=True):
#     print(rate, f"{distance:.2f}")
# ```
#
# ```text
# 0.1 2.32
# 0.2 2.88
# 0.3 3.25
# ```
#
# </details>
#
# ### Exercise 4: beyond 4
#
# What becomes of the model at $\eta\lambda = 4.5$, and which of the two equations says so?
#
# <details><summary>Solution</summary>
#
# The second: $\eta\lambda - 4$ is positive, $\lambda$ grows, and nothing stops it.
#
# ```python
# print(bool(jnp.isfinite(catapult(4.5)[0][-1])))
# ```
#
# ```text
# False
# ```
#
# </details>
#
# This is the end of the course. `python -m experiments list` has what did not fit into it, and
# `python -m experiments report` makes a site of all its claims.

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
# # 6. Landscape and saddles
#
# *All cells run in about 30 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# The [descent lemma](1_descent_and_rates.ipynb) leads to a small gradient, and a small gradient may
# be a saddle. Three questions: how does one tell? Does gradient descent end there? And if it
# does not, how long does it stay?

# %% tags=["hide-cell"]
import importlib.util

# In Colab: the address of your copy of the repository, for git clone. Elsewhere leave it empty.
REPOSITORY = ""

if importlib.util.find_spec("experiments") is None:
    assert REPOSITORY, "write the address of your copy of the repository two lines above"
    # !git clone --quiet --depth 1 {REPOSITORY} course
    # %cd -q course
    # %pip install --quiet '.[experiments]'

# %% tags=["hide-cell"]
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from experiments import escape, random_init, stationary_points
from experiments.lab import notebook
from jaxopt_course import problems, saddle, theory, transforms

jax.config.update("jax_enable_x64", True)  # float32 rounds away the way out of a saddle
notebook.use_style()

# %% [markdown]
# ## Telling them apart
#
# Where the gradient is zero, $f(x + s) \approx f(x) + \tfrac12 s^\top H s$, and along an
# eigenvector $v$ of $H$ the function changes by $\tfrac12\lambda t^2$.
#
# - All $\lambda > 0$: a *minimum*. All $\lambda < 0$: a *maximum*.
# - Some $\lambda < 0$: the function falls along that eigenvector, both ways. With others positive
#   this is a **strict saddle**; the number of negative eigenvalues is its *index*.
# - All $\lambda \ge 0$ and some zero: the Hessian does not know. $x^4 + y^4$ has a minimum at
#   the origin, $x^3 - 3xy^2$ a saddle, and both have the Hessian 0 there.
#
# `saddle.classify` gives the answer and its evidence, and says DEGENERATE where second derivatives
# decide nothing.

# %%
surfaces = ("himmelblau", "hyperbola_valley", "quartic_bowl", "monkey_saddle")
kinds = stationary_points.run(stationary_points.Config(surfaces, resolution=80))
notebook.table(stationary_points.claims(kinds))

# %%
stationary_points.plot(kinds)

# %% [markdown]
# Hollow marks are points at which the Hessian is singular. In the hyperbola's valley these are
# minima all the same: the valley $xy = 1$ is a whole curve of them, as it is whenever a network has
# a symmetry.
#
# ## Does gradient descent end at a saddle?
#
# Near a strict saddle the rule is almost linear: along curvature $-g$ the distance is
# multiplied by $1 + \eta g$ each step, along positive curvature it shrinks. To converge to the
# saddle a run must have *no* part along the negative directions: it must start on the *stable
# manifold*, a surface of lower dimension. A random start has probability zero to be there (Lee et
# al.). Being close costs only a logarithm: from distance δ to distance 1 it takes
#
# $$\frac{\ln(1/\delta)}{\ln(1 + \eta g)}\ \text{steps.}$$

# %%
config = random_init.Config(  # raise runs to 1,000 for an honest upper bound
    ("hyperbola valley", "octopus"), runs=8, distances=(1e-2, 1e-4, 1e-6), delayed_runs=2
)
starts = random_init.run(config)
notebook.table(random_init.claims(starts))

# %%
random_init.plot(starts)

# %% [markdown]
# So saddles are harmless? For one saddle, yes.
#
# ## Saddles in a row: the octopus
#
# Du et al. built a function in $d$ dimensions on which gradient descent meets $d$ saddles, one
# after the other. While it is busy with coordinate $k$, those that come later are *attracted* to
# zero: they shrink by $1 - 2\eta L$ a step. When its turn comes, coordinate $k+1$ is as small as
# the waiting has made it, and must grow back by $1 + 2\eta\gamma$ a step. What follows after $T_k$
# steps of waiting is thus a fixed multiple of $T_k$:
#
# $$\frac{T_{k+1}}{T_k} \to 1 - \frac{\ln(1 - 2\eta L)}{\ln(1 + 2\eta\gamma)} ,$$
#
# and the time for all $d$ saddles grows **exponentially in $d$**. No start is bad here; every
# start is. Perturbed gradient descent adds noise of a fixed radius wherever the gradient is small.
# That undoes the waiting: each saddle takes the same time.

# %%
config = escape.Config(  # the README's figure: runs=100, steps=1000, ratio_steps=6000
    dimensions=(10,), ratio_attractions=(1.0,), runs=8, steps=400, ratio_steps=500
)
octopus = escape.run(config)
notebook.table(escape.claims(octopus))

# %%
escape.plot(octopus)

# %% [markdown]
# Right: blue dots follow the dashed line of the predicted ratio, orange ones hardly rise. How
# little noise does it take? The time to grow from a radius $r$ is
# $\ln(1/r)/\ln(1+\eta g)$, so even $r = 10^{-10}$ costs only a factor. What gradient descent lacks
# is not much randomness but *any* after the start.
#
# ## Exercises
#
# ### Exercise 1: beyond the Hessian
#
# The origin of $x^4 + y^4$ is a minimum, that of $x^3 - 3xy^2$ a saddle. Tell them apart by the
# third and fourth derivatives of $t \mapsto f(tu)$ at 0, over directions $u$ of unit length. What
# would you ask of a function, and what of $e^{-1/x^2}$?
#
# <details><summary>Solution</summary>
#
# If the third derivative is not zero for some $u$, the function falls along $u$ or $-u$: a saddle.
# If it is zero for all $u$ and the fourth is positive for all, a minimum (here, where the whole
# Hessian is zero; where it is zero only along some directions, the others bend the path, and
# `saddle.classify(..., order=4)` does that calculation, too). All derivatives of $e^{-1/x^2}$
# at 0 are zero, and no order decides.
#
# ```python
# def derivative(fun, order):
#     def along(angle):
#         line = lambda t: fun(t * jnp.array([jnp.cos(angle), jnp.sin(angle)]))
#         for _ in range(order):
#             line = jax.grad(line)
#         return line(0.0)
#
#     return jax.vmap(along)(jnp.linspace(0, 2 * jnp.pi, 361))
#
# for make in (problems.quartic_bowl, problems.monkey_saddle):
#     third, fourth = (derivative(make().fun, order) for order in (3, 4))
#     print(f"{make.__name__}: third up to {abs(third).max():.0f}, fourth from {fourth.min():.0f}")
# ```
#
# ```text
# quartic_bowl: third up to 0, fourth from 12
# monkey_saddle: third up to 6, fourth from 0
# ```
#
# </details>
#
# ### Exercise 2: the price of being close
#
# Along curvature −0.5 at η = 0.1, how many steps from distance $10^{-3}$ to 1? From $10^{-6}$, from
# $10^{-12}$? Give the ratio of the last two before you compute.
#
# <details><summary>Solution</summary>
#
# The logarithm doubles when the exponent does.
#
# ```python
# for start in (1e-3, 1e-6, 1e-12):
#     steps = theory.quadratic_escape_steps(
#         learning_rate=0.1, curvature=0.5, start=start, end=1.0
#     )
#     print(f"{start:g}: {steps:.0f}")
# ```
#
# ```text
# 0.001: 142
# 1e-06: 284
# 1e-12: 567
# ```
#
# </details>
#
# ### Exercise 3: how long is ten saddles?
#
# With $L = 1.5$, $\gamma = 1$ and $\eta = 1/(4L)$ the first saddle takes about 8 steps, and
# perturbed gradient descent about 33 for each. Estimate the time for ten saddles by both. In which
# precision could one measure the first?
#
# <details><summary>Solution</summary>
#
# The ratio is 3.41, so $8 \cdot 3.41^9 \approx 500{,}000$ against 300. At η = 1/(4L) a waiting
# coordinate is halved each step, and in float64 it is zero after 1,022 halvings, as XLA takes
# subnormal numbers for zero: the sixth waits longer than that, is exactly zero by then, and
# gradient descent stays for ever, by rounding and not by the theorem.
#
# ```python
# ratio = theory.octopus_exit_ratio(learning_rate=1 / 6, attraction=1.5, repulsion=1.0)
# times = 8 * ratio ** np.arange(10)
# print(f"ratio {ratio:.2f}, ten saddles {times[-1]:.2g} steps")
# print("saddles passed in float64:", int(np.sum(times < 1022)) + 1)
# ```
#
# ```text
# ratio 3.41, ten saddles 5e+05 steps
# saddles passed in float64: 5
# ```
#
# </details>
#
# ### Exercise 4: does Adam leave?
#
# On Nesterov's saddle, $x^2/2 + y^4/4 - y^2/2$, start at $(0.5, y_0)$ with $y_0 = 0$ and $10^{-6}$.
# How many steps do gradient descent (η = 0.1) and Adam (η = 0.02) need to get
# below −0.2? Predict the order of magnitude of all four.
#
# <details><summary>Solution</summary>
#
# From $y_0 = 0$ none of them ever does: $y$'s gradient is exactly zero, and a rule without noise
# that is given zero returns zero. From $10^{-6}$ gradient descent needs about
# $\ln 10^6/\ln 1.1 = 145$ steps. Adam divides by the size of $y$'s own gradient, so that its steps
# are about η from the start: to where the value is −0.2, at $y = 0.74$, it takes $0.74/\eta = 37$.
# Distance from the saddle hardly matters to it, but
# exactly zero still does.
#
# ```python
# landscape = problems.nesterov_saddle()
# starts = jnp.array([[0.5, 0.0], [0.5, 1e-6]])
# for name, rule in {
#     "gradient descent": transforms.gradient_descent(0.1),
#     "Adam": transforms.adam(0.02),
# }.items():
#     runs = saddle.escape(landscape.fun, rule, starts, max_steps=1000, target_value=-0.2)
#     print(name, runs.steps.tolist())
# ```
#
# ```text
# gradient descent [1000, 146]
# Adam [1000, 35]
# ```
#
# </details>
#
# **Next:** [networks' landscapes](7_networks_landscapes.ipynb).

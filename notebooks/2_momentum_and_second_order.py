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
# # 2. Momentum and second order
#
# *All cells run in about 20 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# [Gradient descent](1_descent_and_rates.ipynb) needs steps in proportion to the condition number κ.
# Two ways out: remember where you were going (momentum, $\sqrt\kappa$), or ask the Hessian
# (Newton, no κ at all). Both have a price, and this notebook shows it as well.

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
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import momentum, newton, quadratic_rates
from experiments.lab import notebook
from jaxopt_course import plot, problems, saddle, theory, transforms

jax.config.update("jax_enable_x64", True)
notebook.use_style()

# %% [markdown]
# ## Heavy ball
#
# Polyak's rule lets a velocity collect the gradients and forget them at the rate $b$:
#
# $$v_{t+1} = b\, v_t - \nabla f(x_t), \qquad x_{t+1} = x_t + \eta\, v_{t+1}.$$
#
# Along an eigenvector of curvature λ the error $e$ obeys a recursion of second order,
#
# $$e_{t+1} = (1 + b - \eta\lambda)\, e_t - b\, e_{t-1},
# \qquad z^2 - (1 + b - \eta\lambda)\, z + b = 0.$$
#
# The product of the two roots $z$ is $b$. As long as they are complex, each has modulus $\sqrt b$,
# **whatever λ is**: the spring swings, and only the damping decides how fast it comes to rest. The
# best one can do is to choose $\eta$ and $b$ such that the roots are complex on all of $[\mu, L]$,
# just so at both ends:
#
# $$\eta = \frac{4}{(\sqrt L + \sqrt\mu)^2}, \qquad
# \sqrt b = \frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}.$$
#
# Nesterov's method takes the gradient where the velocity is about to carry it,
# $v_{t+1} = b\,v_t - \nabla f(x_t + \eta b v_t)$. That damps steep directions more than flat ones.

# %%
MU, L = 1.0, 25.0
ends = {"strong_convexity": MU, "smoothness": L}
methods = {
    "gradient descent": (theory.gradient_descent_rate(**ends), False),
    "heavy ball": (theory.heavy_ball_rate(**ends), False),
    "Nesterov": (theory.nesterov_rate(**ends, tuned=False), True),
}
curvatures = np.linspace(0.0, 27.0, 400)
figure = Figure(figsize=(9, 4))
axes = figure.subplots()
for name, (best, lookahead) in methods.items():
    factor = theory.recursion_factor(
        curvatures, learning_rate=best.learning_rate, decay=best.decay, lookahead=lookahead
    )
    axes.plot(curvatures, factor, label=f"{name}: worst {best.rate:.3f}")
axes.axvspan(MU, L, color="0.93", zorder=0)
axes.axhline(1, color="0.6", lw=0.8)
axes.set(xlabel="curvature λ (grey: from μ to L)", ylabel="factor a step", ylim=(0, 1.2))
axes.legend(loc="lower left")
figure.suptitle("Heavy ball treats all curvatures alike, gradient descent favours the middle")
figure

# %% [markdown]
# The experiment `quadratic_rates` measures the rates of five methods in ten dimensions, up to
# κ = 1,000 here, and compares the measured slope with the spectral radius.

# %%
rates = quadratic_rates.run(quadratic_rates.Config(condition_numbers=(1e1, 1e2, 1e3), records=40))
notebook.table(quadratic_rates.claims(rates))

# %%
quadratic_rates.plot(rates)

# %% [markdown]
# On the right the slopes of the lines are the message: 1 for gradient descent, ½ with momentum.
#
# ## Where quadratics mislead
#
# Everything above used that the curvature along the way is constant. Lessard, Recht and Packard
# found a strongly convex function of one variable, curvature 25 but for the interval $[1, 2)$,
# where it is 1, on which heavy ball *with its best parameters for quadratics in $[1, 25]$* jumps
# between three points for ever. Each point lies where the curvature is the wrong one for the phase
# of the swing. Nesterov's method has a proof for all strongly convex functions; and it converges.

# %%
cycles = momentum.run(momentum.Config(starts=2001, steps=2000))
notebook.table(momentum.claims(cycles))

# %%
momentum.plot(cycles)

# %% [markdown]
# ## Newton's method
#
# Replace $f$ by its second-order model and go to where that is stationary:
#
# $$x_{t+1} = x_t - H(x_t)^{-1} \nabla f(x_t).$$
#
# On a quadratic one step suffices, whatever κ. More: change coordinates, $x = A z$. Gradient and
# Hessian become $A^\top g$ and $A^\top H A$, so the step in $z$ is
# $-(A^\top H A)^{-1}A^\top g = -A^{-1} H^{-1} g$: the same step in $x$. Conditioning is a property
# of coordinates, and Newton's method has none.
#
# But "stationary" is all it asks for. Along an eigenvector the step is $-g_i/\lambda_i$, and if
# $\lambda_i < 0$ it goes *uphill*, to the saddle. Three remedies, all in `transforms`:
# `saddle_free_newton` divides by $|\lambda_i|$; `cubic_newton` minimizes the model plus
# $\frac M6\lVert s\rVert^3$, whose global minimum knows about negative curvature; `trust_region`
# minimizes the model within a ball.

# %%
scape = newton.landscapes()["himmelblau"]
fun = scape.problem.fun
starts = jax.vmap(scape.problem.init)(jax.random.split(jax.random.key(0), 500))
classify = partial(saddle.classify, fun, gradient_tolerance=newton.GRADIENT_TOLERANCE)
name = jax.jit(jax.vmap(classify))

figure = Figure(figsize=(10, 4.6), layout="constrained")
lost = []
for axes, rule in zip(figure.subplots(1, 2), ("Newton", "saddle-free Newton"), strict=True):
    runs = saddle.escape(fun, newton.RULES[rule](scape), starts, max_steps=100)
    kinds = np.asarray(name(runs.params).kind)
    for kind, colour in newton.COLOURS.items():
        if kind in saddle.Kind.__members__:
            axes.plot(*starts[kinds == saddle.Kind[kind]].T, ".", ms=4, color=colour)
    known = scape.problem.stationary_points
    plot.points([p.params for p in known], [saddle.Kind[p.kind] for p in known], ax=axes)
    axes.get_legend().remove()
    lost.append(np.mean(kinds != saddle.Kind.MINIMUM))
    axes.set(
        xlabel="x", ylabel="y", aspect="equal", title=f"{rule}: {lost[-1]:.0%} not at a minimum"
    )
figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure.suptitle("What a start on Himmelblau's function finds: a dot has the colour of its end")
figure

# %% [markdown]
# Each dot is a start, and its colour the kind of point that it ended at. Around every saddle and
# around the maximum there is a neighbourhood that belongs to it, exactly as around a minimum.
# With the signs repaired, all starts go down. The remedy has its price: lengths and signs of
# eigenvalues depend on coordinates, so these rules are no longer free of them. The whole comparison
# (five rules, three landscapes, the test of invariance) is `python -m experiments run newton`.
#
# ## Exercises
#
# ### Exercise 1: what momentum saves
#
# At κ = 10,000, how many steps do gradient descent and heavy ball, each at its best, need for six
# digits? Estimate with $\ln(1/\rho) \approx 2/\kappa$ and $2/\sqrt\kappa$, then compute.
#
# <details><summary>Solution</summary>
#
# $\ln 10^6 \approx 13.8$, so about $13.8 \cdot 5{,}000 = 69{,}000$ and $13.8 \cdot 50 = 690$.
#
# ```python
# for rate in (theory.gradient_descent_rate, theory.heavy_ball_rate):
#     best = rate(strong_convexity=1.0, smoothness=1e4)
#     print(f"{theory.linear_iterations(best.rate, accuracy=1e-6):.0f}")
# ```
#
# ```text
# 69078
# 691
# ```
#
# </details>
#
# ### Exercise 2: look ahead, but how far?
#
# A form of Nesterov's rule that one meets on slides takes the gradient at $x_t + b v_t$ instead of
# $x_t + \eta b v_t$, with $x_{t+1} = x_t + \eta v_{t+1}$. Write one step on $\lambda x^2/2$ as a
# matrix on $(x, v)$. For small η, at which curvature does it begin to diverge if $b = 0.9$? Test
# λ = 2 and λ = 2.2 at η = 0.01.
#
# <details><summary>Solution</summary>
#
# $v' = b v - \lambda(x + b v)$: for small η the velocity alone is multiplied by $b(1-\lambda)$, so
# it explodes once $b(\lambda - 1) > 1$, that is $\lambda > (1+b)/b = 2.11$, **at any learning
# rate**. (To first order in η the limit is $(1+b)/(b + \eta/2) = 2.10$.) The look-ahead is
# too long by the factor 1/η. In `transforms.nesterov` it is `look_ahead="raw"`.
#
# ```python
# raw = transforms.nesterov(0.01, 0.9, learning_rate_in_velocity=False, look_ahead="raw")
# paper = transforms.nesterov(0.01, 0.9)
# for curvature in (2.0, 2.2):
#     for name, rule in (("raw", raw), ("paper", paper)):
#         def step(_, carry, rule=rule):
#             x, state = carry
#             updates, state = rule.update(curvature * x, state, x)
#             return x + updates, state
#
#         x, _ = jax.lax.fori_loop(0, 400, step, (jnp.ones(()), rule.init(jnp.ones(()))))
#         print(f"{name}, curvature {curvature}:", "diverges" if abs(x) > 1 else "converges")
# ```
#
# ```text
# raw, curvature 2.0: converges
# paper, curvature 2.0: converges
# raw, curvature 2.2: diverges
# paper, curvature 2.2: converges
# ```
#
# </details>
#
# ### Exercise 3: a basin of attraction of a saddle
#
# On $f = x^2/2 + y^4/4 - y^2/2$, with its saddle at the origin, Newton's method moves each
# coordinate by itself. Which $y_0$ are led to the saddle? *Hint:* one step is
# $y \mapsto 2y^3/(3y^2 - 1)$; when is $|y'| < |y|$?
#
# <details><summary>Solution</summary>
#
# $|y'/y| = 2y^2/|3y^2-1| < 1$ for $y^2 < 1/5$. At $y = 1/\sqrt5$ the step gives $-y$: a cycle
# of two. Beyond it the iterates are thrown out to where the curvature is positive (or, near
# $1/\sqrt3$, anywhere). So the whole strip $|y| < 0.447$ belongs to a point that gradient descent
# avoids from everywhere but the line $y = 0$.
#
# ```python
# starts = jnp.stack([jnp.full(801, 0.3), jnp.linspace(0.4, 0.5, 801)], axis=1)
# landscape = problems.nesterov_saddle()
# runs = saddle.escape(landscape.fun, transforms.newton(), starts, max_steps=60)
# trapped = np.abs(runs.params[:, 1]) < 1e-6
# print(f"trapped up to {starts[np.argmin(trapped) - 1, 1]:.3f}, 1/sqrt(5) = {5**-0.5:.3f}")
# ```
#
# ```text
# trapped up to 0.447, 1/sqrt(5) = 0.447
# ```
#
# </details>
#
# ### Exercise 4: momentum at a saddle
#
# Along curvature −0.1 at η = 0.1, how many steps do gradient descent and heavy ball with $b = 0.9$
# need to grow a distance of $10^{-6}$ to 1? The recursion above is valid for negative λ, too.
#
# <details><summary>Solution</summary>
#
# Gradient descent grows by $1 + \eta|\lambda| = 1.01$ a step. With momentum the larger root of
# $z^2 - 1.91 z + 0.9 = 0$ counts. Momentum remembers that it was going away, and is gone six times
# sooner.
#
# ```python
# for decay in (0.0, 0.9):
#     factor = theory.recursion_factor(-0.1, learning_rate=0.1, decay=decay)
#     print(f"decay {decay}: factor {factor:.4f}, {np.log(1e6) / np.log(factor):.0f} steps")
# ```
#
# ```text
# decay 0.0: factor 1.0100, 1388 steps
# decay 0.9: factor 1.0647, 221 steps
# ```
#
# </details>
#
# **Next:** [adaptive methods](3_adaptive_methods.ipynb), which try to see conditioning without
# paying for a Hessian.

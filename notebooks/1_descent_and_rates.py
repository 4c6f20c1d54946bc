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
# # 1. Descent and rates
#
# *All cells run in about 20 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# Gradient descent is the rule
#
# $$x_{t+1} = x_t - \eta\, \nabla f(x_t).$$
#
# This notebook asks what one step is worth, what many steps are worth, and how much more can be
# said once the function is a quadratic. Only the second answer holds for neural networks, and we
# shall check it on one.

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
from matplotlib.figure import Figure

from experiments import descent_lemma, quadratic_rates
from experiments.lab import notebook
from jaxopt_course import problems, saddle, theory, transforms

jax.config.update("jax_enable_x64", True)  # rates are slopes of errors down to 1e-12
notebook.use_style()

# %% [markdown]
# ## One step: the descent lemma
#
# Call $f$ *β-smooth* if its gradient cannot change faster than by β per unit of length,
# $\lVert\nabla f(x) - \nabla f(y)\rVert \le \beta \lVert x - y\rVert$. Then a parabola of
# curvature β that touches $f$ at $x$ lies above it everywhere:
#
# $$f(y) \le f(x) + \nabla f(x)^\top (y - x) + \tfrac\beta2 \lVert y - x\rVert^2.$$
#
# *Why:* walk from $x$ to $y$ and integrate the slope. After a share $s$ of the way the gradient
# has changed by at most $\beta s \lVert y-x\rVert$, and $\int_0^1 s\,ds = \tfrac12$.
#
# Put $y = x - \eta g$ with $g = \nabla f(x)$:
#
# $$f(x - \eta g) \le f(x) - \eta\Bigl(1 - \frac{\eta\beta}{2}\Bigr) \lVert g\rVert^2.$$
#
# Three things can be read off. The promise is largest at $\eta = 1/\beta$, where it is
# $\lVert g\rVert^2 / 2\beta$. It is worth nothing from $\eta = 2/\beta$ on. And convexity was never
# used: the lemma holds on the way past a saddle as well as near a minimum.
#
# Below, one step on a quadratic with curvatures 1, 3 and 10, so β = 10, from two starts.

# %%
BETA = 10.0
quadratic = problems.quadratic([1.0, 3.0, BETA])
scaled_rates = np.linspace(0.02, 2.4, 120)  # in units of 1/beta

figure = Figure(figsize=(10, 3.8))
panels = figure.subplots(1, 2, sharey=True)
starts = {"from (1, 1, 1)": [1.0, 1.0, 1.0], "along the steepest axis": [0.0, 0.0, 1.0]}
for panel, (title, start) in zip(panels, starts.items(), strict=True):
    start = jnp.array(start)
    value, gradient = jax.value_and_grad(quadratic.fun)(start)
    step = jax.vmap(lambda rate, x=start, g=gradient: quadratic.fun(x - rate * g))
    size = jnp.linalg.norm(gradient)
    promise = theory.guaranteed_decrease(size, learning_rate=scaled_rates / BETA, smoothness=BETA)
    panel.plot(scaled_rates, (value - step(scaled_rates / BETA)) / size**2, label="decrease")
    panel.plot(scaled_rates, promise / size**2, "--", label="promised by the lemma")
    panel.axhline(0, color="0.6", lw=0.8)
    panel.set(xlabel="learning rate times beta", title=title)
panels[0].set_ylabel("decrease / |gradient|²")
panels[0].legend()
figure.suptitle("A step keeps its promise, exactly so where the curvature is beta")
figure

# %% [markdown]
# The lemma is not pessimistic by accident: along the steepest axis the curves are one. A better
# promise would need to know more than β.
#
# ## Many steps: how small the gradient must become
#
# Add up the promise at $\eta = 1/\beta$ over $T$ steps. The left side telescopes and cannot exceed
# $\Delta = f(x_0) - \inf f$:
#
# $$\frac{1}{2\beta}\sum_{t<T} \lVert g_t\rVert^2 \le \Delta
# \qquad\Longrightarrow\qquad \min_{t<T} \lVert g_t\rVert \le \sqrt{\frac{2\beta\Delta}{T}}.$$
#
# So some gradient is smaller than ε after at most $2\beta\Delta/\varepsilon^2$ steps. Nothing is
# said about *where* that happens, and nothing forbids it to be a saddle.
#
# Does a network obey? Its loss is not β-smooth anywhere near globally, but the lemma only looks at
# the segments that the run walks on. The experiment `descent_lemma` therefore measures the largest
# curvature along the paths of other networks (by Lanczos' method, no Hessian is ever formed), fixes
# a β half as large again, and then asks of new networks whether it holds on their paths, too.
# As a control it also runs with a β that is 16 times too small.

# %%
config = descent_lemma.Config(networks=2, examples=100, hidden=4, steps=200, estimates=5)
lemma = descent_lemma.run(config)  # more networks, digits, steps: raise the numbers above
notebook.table(descent_lemma.claims(lemma))

# %%
descent_lemma.plot(lemma)

# %% [markdown]
# Left: no step earns less than promised (the line at 1). Most earn twice as much, which is what a
# step earns along curvature zero: the gradient soon lies where the curvature is far below β.
# Middle: the bound is honest but far away. That is the price of asking nothing of $f$ beyond
# smoothness.
#
# ## Quadratics: every direction for itself
#
# On $f = \tfrac12 x^\top H x$ the rule is $x_{t+1} = (I - \eta H)\, x_t$. Along an eigenvector of
# curvature λ the error is multiplied by $1 - \eta\lambda$ each step, whatever the others do. With
# curvatures between μ and $L$, and $\kappa = L/\mu$, the slowest direction decides:
#
# $$\rho(\eta) = \max_{\mu\le\lambda\le L} |1 - \eta\lambda|, \qquad
# \rho\Bigl(\frac1L\Bigr) = 1 - \frac1\kappa, \qquad
# \rho\Bigl(\frac{2}{L+\mu}\Bigr) = \frac{\kappa-1}{\kappa+1}.$$

# %%
L, MU = 10.0, 1.0
curvatures = np.linspace(0, L, 200)
figure = Figure(figsize=(9, 3.8))
axes = figure.subplots()
for label, rate in {"1/L": 1 / L, "2/(L + μ)": 2 / (L + MU), "2.1/L": 2.1 / L}.items():
    axes.plot(curvatures, theory.recursion_factor(curvatures, learning_rate=rate), label=label)
axes.axhline(1, color="0.6", lw=0.8)
axes.axvspan(MU, L, color="0.93", zorder=0)
axes.set(xlabel="curvature λ (grey: from μ to L)", ylabel="factor a step, |1 - ηλ|")
axes.legend(title="learning rate η")
figure.suptitle("The best rate makes both ends of the spectrum equally slow")
figure

# %% [markdown]
# The number of steps to a given accuracy is proportional to $1/\ln(1/\rho) \approx \kappa$, or
# $\kappa/2$ at the best rate. The experiment `quadratic_rates` measures the slope of the error on
# quadratics in ten dimensions; here are its two curves for gradient descent.

# %%
rates = quadratic_rates.run(
    quadratic_rates.Config(condition_numbers=(1e1, 1e2, 1e3, 1e4), records=100)
)
slopes = quadratic_rates.measured_slopes(rates)
figure = Figure(figsize=(9, 3.8))
axes = figure.subplots()
for method in rates.optimizer.values[:2]:
    predicted = -1 / np.log(rates.predicted_rate.sel(optimizer=method))
    (line,) = axes.loglog(rates.condition_number, predicted, lw=1, label=f"{method}, predicted")
    measured = 1 / slopes.sel(optimizer=method)
    axes.loglog(rates.condition_number, measured, "o", color=line.get_color(), label="measured")
axes.set(xlabel="condition number κ", ylabel="steps to divide the error by e")
axes.legend()
figure.suptitle("Gradient descent needs steps in proportion to the condition number")
figure

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: too long
#
# On $\tfrac12(x^2 + 10 y^2)$ from $(1, 1)$, where is gradient descent after 100 steps with
# η = 0.19, 0.2 and 0.21? Write down both coordinates before you run anything.
#
# <details><summary>Solution</summary>
#
# Each coordinate is a power: $x = (1-\eta)^{100}$ and $y = (1-10\eta)^{100}$, that is
# $0.9^{100}$, $1$ and $1.1^{100} \approx 13{,}781$. At $\eta = 2/\beta$ the iterate jumps from one
# wall of the valley to the other for ever; beyond, it climbs.
#
# ```python
# def run(rate):
#     optimizer = transforms.gradient_descent(rate)
#     state = optimizer.init(jnp.ones(2))
#
#     def step(_, x):
#         updates, _ = optimizer.update(jnp.array([1.0, 10.0]) * x, state, x)
#         return x + updates
#
#     return jax.lax.fori_loop(0, 100, step, jnp.ones(2))
#
# for rate in (0.19, 0.2, 0.21):
#     x, y = run(rate)
#     print(f"rate {rate}: x = {x:.1e}, y = {y:.5g}")
# ```
#
# ```text
# rate 0.19: x = 7.1e-10, y = 2.6561e-05
# rate 0.2: x = 2.0e-10, y = 1
# rate 0.21: x = 5.8e-11, y = 13781
# ```
#
# </details>
#
# ### Exercise 2: the bound and the truth
#
# From $(1, 1, 1)$ on the quadratic of the first figure (β = 10, so $\Delta = 7$) at rate 1/β: after
# how many steps does the bound promise a gradient of $10^{-3}$? How many does it take?
# Why are the two so far apart?
#
# <details><summary>Solution</summary>
#
# The bound is $2\beta\Delta/\varepsilon^2 = 1.4\cdot10^8$. In truth the slowest coordinate has
# curvature 1 and shrinks by 0.9 a step, and $0.9^{66} < 10^{-3}$. The bound must hold for the worst
# smooth function, which is flat for long stretches; a quadratic with $\mu > 0$ has no flat places.
#
# ```python
# print(f"{theory.stationarity_iterations(smoothness=10.0, function_gap=7.0, epsilon=1e-3):.3g}")
# runs = saddle.escape(
#     quadratic.fun, transforms.gradient_descent(1 / BETA), jnp.ones((1, 3)),
#     max_steps=100, record_every=1,
# )
# print(int(np.argmax(runs.record.gradient_norm[0] <= 1e-3)))
# ```
#
# ```text
# 1.4e+08
# 66
# ```
#
# </details>
#
# ### Exercise 3: the best constant rate
#
# Derive $\eta = 2/(L+\mu)$: which η makes the largest of $|1-\eta\lambda|$ over $[\mu, L]$
# smallest? Check it by brute force for μ = 1, $L$ = 25, and see that
# the answer is that of `theory.gradient_descent_rate`.
#
# <details><summary>Solution</summary>
#
# $|1-\eta\lambda|$ is convex in λ, so its largest value is at an end: $1-\eta\mu$ falls with η,
# $\eta L - 1$ rises, and the maximum of the two is smallest where they are equal.
#
# ```python
# grid = np.linspace(0.001, 0.08, 100_000)
# worst = np.maximum(abs(1 - grid), abs(1 - 25 * grid))
# best = theory.gradient_descent_rate(strong_convexity=1.0, smoothness=25.0)
# print(f"brute force {grid[worst.argmin()]:.5f}, factor {worst.min():.5f}")
# print(f"theory      {best.learning_rate:.5f}, factor {best.rate:.5f}")
# ```
#
# ```text
# brute force 0.07692, factor 0.92308
# theory      0.07692, factor 0.92308
# ```
#
# </details>
#
# ### Exercise 4: convex, and as slow as can be
#
# For convex β-smooth functions the value after $N$ steps at rate 1/β is at most
# $\beta R^2/(4N+2)$ above the minimum, $R$ being the distance of the start (Drori and Teboulle).
# Show that the Huber function with a corner at $\delta = R/(2N+1)$,
# $f(x) = x^2/2$ for $|x|\le\delta$ and $\delta|x| - \delta^2/2$ beyond, attains it.
#
# <details><summary>Solution</summary>
#
# The start $R$ lies on the slope δ, every step moves by δ, and after $N$ steps
# $x_N = R(N+1)/(2N+1)$ is still there. So $f(x_N) = \delta x_N - \delta^2/2 = R^2/(4N+2)$. The
# function is only just steep enough for the start, and
# only just flat enough that $N$ steps do not reach the curved part.
#
# ```python
# R, N = 3.0, 50
# delta = R / (2 * N + 1)
# huber = lambda x: jnp.where(abs(x) <= delta, x**2 / 2, delta * abs(x) - delta**2 / 2)
# x = R
# for _ in range(N):
#     x = x - jax.grad(huber)(x)
# bound = theory.convex_value_bound(N, smoothness=1.0, distance=R)
# print(f"value {huber(x):.6f}, bound {bound:.6f}")
# ```
#
# ```text
# value 0.044554, bound 0.044554
# ```
#
# </details>
#
# **Next:** [momentum and second order](2_momentum_and_second_order.ipynb), which turns κ into
# $\sqrt\kappa$, or removes it.

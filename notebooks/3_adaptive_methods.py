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
# # 3. Adaptive methods
#
# *All cells run in about 15 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# Newton's method divides by the curvature and pays for a Hessian. Adaptive methods divide by
# something that is free: a running size of each coordinate's own gradient. With $s$ for that size
# and all operations elementwise, the step is $-\eta\, g_t / \sqrt{s_t}$, and the methods differ in
# what they remember:
#
# | method | memory | step |
# |---|---|---|
# | AdaGrad | $s_t = \sum_{i\le t} g_i^2$ | $-\eta\, g_t/\sqrt{s_t}$ |
# | RMSProp | $s_t = \rho s_{t-1} + (1-\rho)\, g_t^2$ | $-\eta\, g_t/\sqrt{s_t}$ |
# | AdaDelta | also $u_t = \rho u_{t-1} + (1-\rho) Δx_t^2$ | $-g_t \sqrt{(u_{t-1}+ϵ)/(s_t+ϵ)}$ |
# | Adam | also $m_t = b_1 m_{t-1} + (1-b_1)\, g_t$ | $-\eta\, \hat m_t/\sqrt{\hat s_t}$ |
#
# The hats are Adam's bias correction, of which more below. All are in `jaxopt_course.transforms`,
# and since each is an optax transformation, `optax.adam` could stand in for any of them.

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

from experiments import adaptive
from experiments.lab import notebook
from experiments.marginal_value import separable_example
from jaxopt_course import transforms

jax.config.update("jax_enable_x64", True)
notebook.use_style()

# %% [markdown]
# ## What the division cancels, and what it does not
#
# On $\tfrac12(\kappa x^2 + y^2)$ the gradient is $(\kappa x, y)$. Multiply the first coordinate of
# *every* gradient by κ: its running size grows by the same factor, and the quotient does not
# change. So along the axes **the path is the same for every κ**. For the same reason the size of
# the whole objective does not matter: multiply it by a million, and the path stays.
#
# Now turn the same bowl by 45 degrees. Both coordinates of the gradient are mixtures of the steep
# and the flat direction, of about the same size. The divisor is about the same number twice, and
# the method is gradient descent with a normalized step: κ is back. A diagonal matrix can only
# repair what is wrong along the axes.

# %%
race = adaptive.run(adaptive.Config(max_steps=12_000))
notebook.table(adaptive.claims(race))

# %%
adaptive.plot(race)

# %% [markdown]
# Bottom left: dashed lines are flat, κ does not matter along the axes; solid lines rise.
# Bottom right: what each rule does under a *constant* gradient shows its memory best. AdaGrad never
# forgets, so its steps fall as $1/\sqrt t$: a built-in schedule, with no way back if the
# early gradients were large. RMSProp forgets, and its steps settle. Adam's are one learning rate,
# from the first to the last. AdaDelta has no learning rate: its steps are measured against earlier
# steps, and since $\epsilon$ adds a little to them each time, they grow as $\sqrt t$.
#
# ## Why Adam divides by $1 - b^t$
#
# Averages that start at zero are too small at first: under a constant gradient $g$,
# $m_t = (1 - b_1^t)\, g$ and $s_t = (1 - b_2^t)\, g^2$. Without the correction the step would be
#
# $$\eta\,\frac{1 - b_1^t}{\sqrt{1 - b_2^t}}$$
#
# instead of η. Numerator and denominator both start too small, but $b_2 = 0.999$ takes far longer
# to fill up than $b_1 = 0.9$, and it is below the line.

# %%
T = 3000


def step_sizes(optimizer, gradient=0.3, steps=T):
    """Return the lengths of the steps under a constant gradient."""

    def step(state, _):
        update, state = optimizer.update(jnp.asarray(gradient), state, jnp.zeros(()))
        return state, -update

    return jax.lax.scan(step, optimizer.init(jnp.zeros(())), length=steps)[1]


t = np.arange(1, T + 1)
figure = Figure(figsize=(9, 3.8))
axes = figure.subplots()
axes.semilogx(t, step_sizes(transforms.adam(1.0, eps=1e-12)), label="Adam")
plain = step_sizes(transforms.adam(1.0, eps=1e-12, bias_correction=False))
axes.semilogx(t, plain, label="without bias correction")
some = np.unique(np.geomspace(1, T, 25).astype(int))
axes.semilogx(some, (1 - 0.9**some) / np.sqrt(1 - 0.999**some), "k.", label="formula")
axes.set(xlabel="step t", ylabel="step / learning rate", ylim=(0, 7))
axes.legend()
figure.suptitle("Without the correction Adam begins with steps several times too long")
figure

# %% [markdown]
# ## Do they find the same solution?
#
# A least-squares problem with more parameters than data has many solutions. Gradient descent from
# zero stays in the span of the data and finds the one of least norm. A method that rescales
# coordinates leaves that span. Wilson et al. built a problem on which this is fatal: the first
# feature *is* the label, two are always 1, and each example has features of its own that no other
# example shares.

# %%
labels = separable_example.draw_labels(np.random.default_rng(0), 60, positive=0.6)
new_labels = separable_example.draw_labels(np.random.default_rng(1), 10_000, positive=0.6)
X = jnp.asarray(separable_example.features(labels))


def solve(optimizer, steps=3000):
    """Minimize the mean of the squared errors, halved, from zero."""

    def step(_, carry):
        w, state = carry
        updates, state = optimizer.update(X.T @ (X @ w - labels) / len(labels), state, w)
        return w + updates, state

    w = jnp.zeros(X.shape[1])
    return jax.jit(lambda: jax.lax.fori_loop(0, steps, step, (w, optimizer.init(w)))[0])()


found = {
    "gradient descent": solve(transforms.gradient_descent(0.5)),
    "AdaGrad": solve(transforms.adagrad(0.1, eps=1e-12)),
}
for name, w in found.items():
    trained = np.mean(np.sign(X @ w) == labels)
    wrong = separable_example.share_wrong(np.asarray(w), new_labels)
    print(f"{name}: training examples right {trained:.0%}, new examples wrong {wrong:.0%}")

# %% [markdown]
# Both fit every training example. AdaGrad moves all coordinates by the same amount, so that private
# features, each seen once, count as much as the one that knows the answer; and it calls every new
# example positive. Real data are kinder: what remains of this on images of digits is what
# `python -m experiments run marginal_value` measures (there, tuned Adam does *better*).
#
# ## Exercises
#
# ### Exercise 1: the first step
#
# The first gradient is $(0.001, 1000)$. How long is the first step of AdaGrad (η = 0.1), RMSProp
# (η = 0.01, ρ = 0.9), Adam (η = 0.01) and AdaDelta (ρ = 0.95, ε = 10⁻⁶) in each coordinate?
#
# <details><summary>Solution</summary>
#
# AdaGrad: $s_1 = g^2$, so η in both. RMSProp: $s_1 = 0.1\, g^2$, so $\eta/\sqrt{0.1}$. Adam: η in
# both. AdaDelta has $u_0 = 0$: its first step is $g\sqrt{\epsilon}/\sqrt{0.05\, g^2 + \epsilon}$,
# about $\sqrt{\epsilon/0.05}$ if $g$ is large, but about $g$ if $g$ is as small as $\sqrt\epsilon$.
#
# ```python
# g = jnp.array([0.001, 1000.0])
# for name, rule in {
#     "AdaGrad": transforms.adagrad(0.1, eps=0.0),
#     "RMSProp": transforms.rmsprop(0.01, decay=0.9, eps=0.0),
#     "Adam": transforms.adam(0.01, eps=0.0),
#     "AdaDelta": transforms.adadelta(1.0, rho=0.95, eps=1e-6),
# }.items():
#     updates, _ = rule.update(g, rule.init(g), g)
#     print(name, " ".join(f"{-update:.5f}" for update in updates))
# ```
#
# ```text
# AdaGrad 0.10000 0.10000
# RMSProp 0.03162 0.03162
# Adam 0.01000 0.01000
# AdaDelta 0.00098 0.00447
# ```
#
# </details>
#
# ### Exercise 2: how far AdaGrad gets
#
# Under a constant gradient, how many steps does AdaGrad with η = 0.1 need to travel a distance
# of 5? And how many for 50?
#
# <details><summary>Solution</summary>
#
# The way after $T$ steps is $\eta\sum 1/\sqrt t \approx 2\eta\sqrt T$, so
# $T \approx (5/0.2)^2 = 625$, and a hundred times as many for ten times the way. It gets
# everywhere, but a rate that is too small is never forgiven.
#
# ```python
# way = jnp.cumsum(step_sizes(transforms.adagrad(0.1, eps=0.0), steps=70_000))
# print([int(jnp.argmax(way >= distance)) + 1 for distance in (5, 50)])
# ```
#
# ```text
# [662, 62866]
# ```
#
# </details>
#
# ### Exercise 3: the worst moment without bias correction
#
# At which $t$ is Adam's step without correction furthest from η, and by what factor? Guess the
# order of magnitude of both from the time constants $1/(1-b)$ before you compute.
#
# <details><summary>Solution</summary>
#
# The numerator is full after some 10 steps, when the denominator is still
# $\sqrt{1 - 0.999^{10}} \approx 0.1$. So: after about ten steps, by somewhat less than ten.
#
# ```python
# print(f"{plain.max():.2f} learning rates at t = {int(plain.argmax()) + 1}")
# ```
#
# ```text
# 6.57 learning rates at t = 12
# ```
#
# </details>
#
# ### Exercise 4: where AdaGrad ends on the separable example
#
# Let $u = \operatorname{sign}(X^\top y)$ and suppose that most labels are positive. Show that
# $X u = 4 y$, hence that AdaGrad started at zero stays on the line through $u$ and ends at $u/4$,
# and that its output on a new example with label $y$ is $(y + 2)/4$. Check the end, and that
# gradient descent's is the solution of least norm.
#
# <details><summary>Solution</summary>
#
# A column of $X$ that is constant 1 has $X^\top y > 0$; the first has $\sum y^2 > 0$; a private
# one of example $i$ has the sign $y_i$. So
# $x_i^\top u = y_i + 1 + 1 + (\text{1 or 5 private features}) \cdot y_i$: $1 + 2 + 1 = 4$ for a
# positive example and $-1 + 2 - 5 = -4$ for a negative one. On the line $w = c\,u$ all residuals
# are $(4c - 1)\,y$, the gradient is a multiple of $X^\top y$, and AdaGrad's division by the sizes
# turns it back into a multiple of $u$. New examples have no weights on their private features:
# $(y + 1 + 1)/4 > 0$.
#
# ```python
# u = np.sign(X.T @ labels)
# print("X u = 4 y:", bool(np.all(X @ u == 4 * labels)))
# ends = {"AdaGrad": u / 4, "gradient descent": separable_example.least_norm_solution(labels)}
# for name, end in ends.items():
#     print(f"{name}: distance {np.linalg.norm(found[name] - end) / np.linalg.norm(end):.2f}")
# ```
#
# ```text
# X u = 4 y: True
# AdaGrad: distance 0.00
# gradient descent: distance 0.00
# ```
#
# </details>
#
# **Next:** [activations and initialization](4_activations_and_initialization.ipynb): before an
# optimizer can do anything, gradients must reach all layers.

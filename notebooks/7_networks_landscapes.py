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
# # 7. Networks' landscapes
#
# *All cells run in about 40 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# Gradient descent with a little noise [leaves every strict saddle](6_landscape_and_saddles.ipynb).
# What it then reaches is a minimum; whether that is a good one depends on the landscape. There
# are problems in which all minima are global, networks in which saddles are worse
# than strict, and networks with bad minima that one does fall into. One of each.

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

from experiments.lab import notebook
from experiments.lab.statistics import show_share
from jaxopt_course import problems, saddle, transforms

jax.config.update("jax_enable_x64", True)
notebook.use_style()

# %% [markdown]
# ## All minima global: factorization
#
# The best approximation of a symmetric matrix $M$ by one of rank 1,
#
# $$f(u) = \tfrac12 \lVert u u^\top - M\rVert_F^2 ,$$
#
# is not convex: $u$ and $-u$ are equally good, and 0 lies between them. But its stationary points
# are known. $\nabla f = 2(\lVert u\rVert^2 - M)u$ is zero at 0 and at
# $\pm\sqrt{\lambda_i}\, v_i$ for every positive eigenvalue. At the $i$-th, the Hessian has
# $2(\lambda_i - \lambda_j)$ along each other eigenvector $v_j$: negative for all larger
# $\lambda_j$. So
# **every point but the best is a strict saddle** (at 0, which uses none of them, a maximum), and
# its index counts what is better.
#
# `saddle.find` knows nothing of this. It runs Newton's method on the gradient from random
# starts, throws together what is the same up to sign, and classifies.

# %%
spectrum = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) / 3
# Starts about as far from the origin as the saddles are.
factorization = problems.symmetric_factorization(spectrum, rank=1, init_scale=0.4)
keys = jax.random.split(jax.random.key(0), 400)
census = saddle.find(
    factorization.fun,
    jax.vmap(factorization.init)(keys),
    method="newton",
    canonical=lambda u: u @ u.T,
)

figure = Figure(figsize=(9, 3.8))
axes = figure.subplots()
known = factorization.stationary_points
axes.plot(
    [p.value for p in known], [p.index for p in known], "o", ms=11, mfc="white", label="known"
)
kinds = census.point.kind
for kind, mark in ((saddle.Kind.MINIMUM, "o"), (saddle.Kind.STRICT_SADDLE, "X")):
    chosen = np.asarray(kinds == kind)
    label = f"found: {kind.name.lower().replace('_', ' ')}"
    axes.plot(census.value[chosen], census.point.index[chosen], mark, ms=6, label=label)
axes.set(xlabel="value", ylabel="index (directions that lead down)")
axes.legend()
figure.suptitle("The higher a stationary point, the more directions lead down from it")
figure

# %% [markdown]
# The origin, a maximum, is not found: only starts very near to it are led there. That index and
# height go together is no accident of this example: Bray and Dean derived it for
# random functions of many variables, and Dauphin et al. saw it in small networks
# (`python -m experiments run index_against_loss`). It is the reason why one expects to be stopped
# by saddles rather than by bad minima, high up. The same picture, with its own proof each, holds
# for matrix sensing and completion, phase retrieval and tensor decomposition
# (`benign_landscapes`).
#
# ## Linear networks: flat saddles
#
# A deep linear network computes $W_N \cdots W_1 x$. Kawaguchi: every local minimum is global, every
# other stationary point is a saddle; with $N = 2$ all saddles are strict. With more layers, look at
# a chain of scalars, $f = \tfrac12 (w_N\cdots w_1 - 1)^2$, at the origin: the first term of
# its Taylor series is $-w_N \cdots w_1$, of order $N$. For $N \ge 3$ the Hessian is zero. There
# *is* a way down, but no second derivative shows it, and leaving takes longer. On the diagonal
# $w_i = w$ gradient flow obeys $\dot w = w^{N-1}(1 - w^N)$, so from $w = \delta$ it needs about
#
# $$\ln\frac1\delta \quad (N = 2), \qquad \frac{\delta^{2-N}}{N-2} \quad (N \ge 3).$$
#
# A logarithm has become a power.

# %%
RATE = 0.02
chains = {depth: problems.linear_network([1.0], widths=(1,) * (depth + 1)) for depth in (2, 3, 4)}
classify = jax.jit(saddle.classify, static_argnums=0)
for depth, chain in chains.items():
    point = classify(chain.fun, (jnp.zeros((1, 1)),) * depth)
    print(f"{depth} layers, origin: {point.name}, index {int(point.index)}")


def time_to_leave(chain, depth, deltas):
    """Return steps times rate until half of the loss at the origin is gone."""
    starts = (jnp.asarray(deltas)[:, None, None],) * depth
    descent = transforms.gradient_descent(RATE)
    runs = saddle.escape(chain.fun, descent, starts, max_steps=20_000, target_value=0.25)
    return np.where(runs.reason == saddle.Stop.TARGET_VALUE, runs.steps * RATE, np.nan)


deltas = np.geomspace(0.05, 0.3, 7)
figure = Figure(figsize=(9, 4))
axes = figure.subplots()
for depth, chain in chains.items():
    (line,) = axes.loglog(deltas, time_to_leave(chain, depth, deltas), "o", label=f"{depth} layers")
    law = np.log(1 / deltas) if depth == 2 else deltas ** (2 - depth) / (depth - 2)
    axes.loglog(deltas, law, color=line.get_color(), lw=1)
axes.set(xlabel="size δ of the weights at the start", ylabel="time to lose half the loss")
axes.legend(title="lines: δ → 0")
figure.suptitle("The deeper the network, the longer small weights stay at the origin")
figure

# %% [markdown]
# This is one reason why deep networks must not be started from weights that are too small, apart
# from those of the [fourth notebook](4_activations_and_initialization.ipynb). The searches and
# classifications for networks with data are in `python -m experiments run linear_networks`.
#
# ## ReLU networks: bad minima
#
# Now the network is to learn a network. $n$ students $\mathrm{relu}(w_i^\top x)$, added up, are to
# imitate $k$ orthogonal teachers, on Gaussian inputs in $k$ dimensions. The loss has a closed form,
# no data and no noise are involved, and $n = k$ students can be perfect. Safran and Shamir ran
# gradient descent from the usual random weights:

# %%
K, RUNS, STEPS = 10, 40, 7000


def learn(students, teachers, runs=RUNS):
    """Return the problem, and where gradient descent ends."""
    problem = problems.relu_teacher_student(num_students=students, dimension=teachers)
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(1), runs))
    descent = transforms.gradient_descent(0.1)
    # Below 1e-3 a run is on its way to a global minimum.
    return problem, saddle.escape(
        problem.fun, descent, starts, max_steps=STEPS, target_value=1e-3, record_every=50
    )


relu, runs = learn(K, K)
stuck = np.asarray(runs.value > 1e-3)
print(show_share(int(stuck.sum()), RUNS), "of the runs do not get below 0.001")

worst = jnp.asarray(runs.params)[int(np.argmax(stuck))]
point = jax.jit(lambda w: saddle.classify(relu.fun, w, gradient_tolerance=1e-6))(worst)
print(point.name, f"of value {relu.fun(worst):.5f},", end=" ")
print(f"gradient {point.gradient_norm:.0e}, smallest eigenvalue {point.min_eigenvalue:.4f}")

# %%
figure = Figure(figsize=(9, 4))
axes = figure.subplots()
for way, fails in zip(runs.record.value, stuck, strict=True):
    axes.semilogy(runs.record.step, way, color="C1" if fails else "C0", lw=1, alpha=0.7)
axes.axhline(1e-3, color="black", lw=0.8, ls=":")
axes.set(xlabel="step", ylabel="value", title="orange: ends at a minimum that is not global")
figure.suptitle(f"{stuck.mean():.0%} of {RUNS} networks end at a bad minimum")
figure

# %% [markdown]
# The Hessian at the end of a failed run is positive definite: a strict minimum, out of whose
# neighbourhood no small noise leads. It is not rare, and with $k$ it becomes the rule: published
# are 13 % of the runs at $k = 8$, 35 % at 10 and 95 % at 20. The full table, every end certified,
# is `python -m experiments run spurious_minima --preset paper`.
#
# ## Exercises
#
# ### Exercise 1: what the Hessian cannot see
#
# On which order of derivatives does one see that the origin of a chain of $N$ layers is no minimum?
# Along which direction does the function fall, and along which does it rise, for $N = 2, 3, 4$?
#
# <details><summary>Solution</summary>
#
# $f = \tfrac12 - \prod w_i + \dots$, so at order $N$. It falls where the product is positive, as
# along $(1, \dots, 1)$, and rises where it is negative, as along $(-1, 1, \dots, 1)$. For even
# $N$ both directions of the diagonal lead down, for odd $N$ only one.
#
# ```python
# t = 0.01
# for depth, chain in chains.items():
#     up = (jnp.full((1, 1), -t), *[jnp.full((1, 1), t)] * (depth - 1))
#     changes = [
#         (float(chain.fun(w)) - 0.5) / t**depth for w in ((jnp.full((1, 1), t),) * depth, up)
#     ]
#     print(depth, " ".join(f"{change:.2f}" for change in changes))
# ```
#
# ```text
# 2 -1.00 1.00
# 3 -1.00 1.00
# 4 -1.00 1.00
# ```
#
# </details>
#
# ### Exercise 2: a tenth of the weights
#
# A chain of three layers leaves from δ = 0.1 in a certain time. How many times longer does it take
# from δ = 0.01? And a chain of two?
#
# <details><summary>Solution</summary>
#
# $1/\delta$: ten times, and a bit more, for the law has a constant beside it. With two layers the
# time is $\ln(1/\delta)$ up to a constant: about twice.
#
# ```python
# for depth in (2, 3):
#     near, far = time_to_leave(chains[depth], depth, [0.01, 0.1])
#     print(f"{depth} layers: {far:.1f} and {near:.1f}, ratio {near / far:.1f}")
# ```
#
# ```text
# 2 layers: 1.9 and 4.2, ratio 2.2
# 3 layers: 8.8 and 98.8, ratio 11.3
# ```
#
# </details>
#
# ### Exercise 3: an index without calculation
#
# In the factorization above, what are value and index at $\sqrt{\lambda_4}\,v_4$? Use the formulas
# of the text, then ask `classify`.
#
# <details><summary>Solution</summary>
#
# Three eigenvalues are larger, so the index is 3, and
# $f = \tfrac12\sum_{j\ne4}\lambda_j^2 = \tfrac12\,(36 + 25 + 16 + 4 + 1)/9$.
#
# ```python
# u = jnp.zeros((6, 1)).at[3, 0].set(spectrum[3] ** 0.5)
# point = classify(factorization.fun, u)
# print(point.name, int(point.index), f"{factorization.fun(u):.4f}")
# ```
#
# ```text
# STRICT_SADDLE 3 4.5556
# ```
#
# </details>
#
# ### Exercise 4: one student more
#
# Let eleven students learn ten teachers. Guess whether there are more or fewer failures, and why;
# then run it.
#
# <details><summary>Solution</summary>
#
# Fewer: at many of the bad minima one student does the work of two, and a spare one is what it
# takes to take over half of it. Published is 1 failure in 1,000 runs. It is no law, though: with 19
# teachers and one spare student half of the runs fail again.
#
# ```python
# _, spare = learn(K + 1, K)
# print(int((spare.value > 1e-3).sum()), "of", RUNS)
# ```
#
# ```text
# 0 of 40
# ```
#
# </details>
#
# ### Exercise 5: a bad minimum by construction
#
# `problems.bad_minimum` is a network of two sigmoid units, three data points, and a point with loss
# ⅓ (Yun, Sra and Jadbabaie). What does `classify` say of it, and why can it not say MINIMUM? Show
# by random perturbations that it is one, and by a random start that it is not global.
#
# <details><summary>Solution</summary>
#
# It belongs to a manifold of minima along which the loss stays ⅓, so the Hessian has zeros: by
# second derivatives it is DEGENERATE. No perturbation goes below ⅓ (but for rounding), and from
# elsewhere gradient descent does.
#
# ```python
# network = problems.bad_minimum(activation="sigmoid")
# bad = jax.tree.map(jnp.asarray, network.stationary_points[0].params)
# print(classify(network.fun, bad).name, f"{network.fun(bad):.4f}")
#
# def perturbed(key):
#     first, second = jax.random.split(key)
#     return network.fun(
#         {
#             "hidden": bad["hidden"] + 1e-2 * jax.random.normal(first, (2, 2)),
#             "output": bad["output"] + 1e-2 * jax.random.normal(second, (2,)),
#         }
#     )
#
# values = jax.vmap(perturbed)(jax.random.split(jax.random.key(0), 10_000))
# print("perturbed points below:", int((values < 1 / 3 - 1e-14).sum()))
# starts = jax.vmap(network.init)(jax.random.split(jax.random.key(2), 4))
# ends = saddle.escape(
#     network.fun, transforms.gradient_descent(1.0), starts, max_steps=5000, target_value=0.1
# )
# print("some run below 0.1:", bool((ends.value <= 0.1).any()))
# ```
#
# ```text
# DEGENERATE 0.3333
# perturbed points below: 0
# some run below 0.1: True
# ```
#
# </details>
#
# **Next:** [at the edge](8_at_the_edge.ipynb).

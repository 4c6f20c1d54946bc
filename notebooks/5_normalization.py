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
# # 5. Normalization
#
# *All cells run in about 25 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# [Initialization](4_activations_and_initialization.ipynb) gives signals the right size once.
# Normalization gives it to them at every step: of each feature it subtracts the mean and divides
# by the standard deviation,
#
# $$y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta ,$$
#
# with a scale γ and a bias β that are learnt. The methods differ in what μ and σ are taken over:
#
# | for inputs (example, position, channel) | mean and variance over | needs other examples |
# |---|---|---|
# | batch normalization | examples and positions, for each channel | yes |
# | layer normalization | channels (and positions), for each example | no |
# | instance normalization | positions, for each example and channel | no |
# | group normalization | positions and a group of channels, for each example | no |
#
# In evaluation batch normalization cannot ask the batch, and uses running averages that it kept
# while training.

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
import optax
from flax import nnx
from matplotlib.figure import Figure

from experiments.lab import data, notebook
from jaxopt_course import nn, theory, training, transforms

notebook.use_style()
digits = data.load("digits").standardized()
images = jnp.asarray(digits.train.images.reshape(-1, 64))
labels = jnp.asarray(digits.train.labels)

# %% [markdown]
# ## The size of the weights ceases to matter
#
# Put batch normalization behind a layer $Wx$. If $W$ is multiplied by $\alpha > 0$, mean and
# standard deviation are, too, and nothing changes behind it: $f(\alpha W) = f(W)$. Two facts follow
# by differentiating, once by α and once by $W$:
#
# $$\langle W, \nabla f(W)\rangle = 0, \qquad \nabla f(\alpha W) = \tfrac1\alpha \nabla f(W).$$
#
# The gradient has no part along the weights, and it is the smaller the larger they are. Here is the
# loss along the ray through the first layer's weights, with and without normalization.

# %%
ALPHAS = jnp.geomspace(0.1, 10.0, 41)


def along_ray(normalization):
    """Return the loss, and its gradient's norm by the first layer, at alpha times its weights."""
    model = nn.MLP((64, 32, 10), normalization=normalization, rngs=nnx.Rngs(0))
    apply, params, state = nn.functional_view(model)
    kernel = params["blocks"][0]["layer"]["kernel"]

    def loss(kernel):
        scaled = jax.tree.map(lambda leaf: leaf, params)
        scaled["blocks"][0]["layer"]["kernel"] = kernel
        outputs, _ = apply(scaled, state, images[:200], train=True)
        return training.cross_entropy(outputs, labels[:200]).mean()

    values, gradients = jax.jit(jax.vmap(lambda a: jax.value_and_grad(loss)(a * kernel)))(ALPHAS)
    return values, jnp.linalg.norm(gradients, axis=(1, 2))


figure = Figure(figsize=(10, 3.8))
left, right = figure.subplots(1, 2)
for label, normalization in {"none": None, "batch": nn.BatchNorm}.items():
    values, norms = along_ray(normalization)
    left.loglog(ALPHAS, values, label=label)
    right.loglog(ALPHAS, norms, label=label)
right.loglog(ALPHAS, norms[20] / ALPHAS, "k:", label="1 / alpha")
left.set(xlabel="factor alpha on the weights", ylabel="loss")
right.set(xlabel="factor alpha on the weights", ylabel="norm of the gradient")
right.legend(title="normalization")
figure.suptitle("Behind normalization the size of the weights is a learning rate, nothing else")
figure

# %% [markdown]
# So a step of rate η turns the *direction* of $W$ as one of rate $\eta/\lVert W\rVert^2$ would at
# unit norm. And since the gradient is orthogonal to $W$, every step makes $W$ longer: the
# effective rate falls by itself, and the more so, the larger the steps are. A rate that is far
# too large is a short detour: the weights grow until it fits.
#
# ## Larger learning rates
#
# Three hidden ReLU layers on 300 digits, at each rate 100 steps of gradient descent on all of them.
# A rate counts as one that trains if the loss at the end is below ½.

# %%
RATES = np.array([0.03, 0.1, 0.3, 1.0, 3.0])
STEPS, HIDDEN, IMAGES = 100, (64,) * 3, 300


def train(normalization, rate):
    """Return the loss after the last step."""
    model = nn.MLP((64, *HIDDEN, 10), normalization=normalization, rngs=nnx.Rngs(0))
    apply, params, state = nn.functional_view(model)
    optimizer = transforms.gradient_descent(rate)

    def loss(params):
        outputs, _ = apply(params, state, images[:IMAGES], train=True)
        return training.cross_entropy(outputs, labels[:IMAGES]).mean()

    def step(_, carry):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    params, _ = jax.lax.fori_loop(0, STEPS, step, (params, optimizer.init(params)))
    return loss(params)


figure = Figure(figsize=(9, 3.8))
axes = figure.subplots()
largest = {}
for label, normalization in {"none": None, "batch": nn.BatchNorm}.items():
    last = jax.jit(jax.vmap(partial(train, normalization)))(RATES)
    last = np.minimum(np.nan_to_num(last, nan=10), 10)  # what diverged stands at the upper edge
    axes.loglog(RATES, last, "o-", label=label)
    largest[label] = RATES[last < 0.5].max(initial=0)
axes.axhline(0.5, color="black", lw=0.8, ls=":")
axes.set(xlabel="learning rate", ylabel=f"loss after {STEPS} steps")
axes.legend(title="normalization")
figure.suptitle(
    f"The largest rate that trains: {largest['none']:g} without, {largest['batch']:g} with"
)
figure

# %% [markdown]
# The common explanation was that normalization keeps the distributions of activations steady.
# Santurkar et al. tested it: they added noise *behind* batch normalization that makes the
# distributions jump at every step, and the networks trained as well. What they did measure is that
# the loss changes more smoothly along the gradient. `python -m experiments run batch_norm` repeats
# both.
#
# ## The batch as a source of noise
#
# In training, what batch normalization answers to an example depends on its company. Below, the
# same example's activation behind normalization, in 500 random batches of each size.

# %%
SIZES = jnp.array([2, 4, 8, 16, 32, 64])
features = images[:, 20:28]  # eight pixels that vary


@nnx.jit
def noise(layer):
    """Return the deviation over 500 batches of the answer to the first example, by batch size."""

    def answer(key, size):
        company = jax.random.choice(key, features[1:], (63,), replace=False)
        batch = jnp.concatenate([features[:1], company])
        in_batch = jnp.arange(64)[:, None] < size  # the others do not count
        return nnx.clone(layer)(batch, mask=in_batch)[0]

    keys = jax.random.split(jax.random.key(0), 500)
    return jax.vmap(lambda size: jax.lax.map(lambda key: answer(key, size), keys))(SIZES).std(
        axis=1
    )


figure = Figure(figsize=(9, 3.8))
axes = figure.subplots()
deviation = noise(nn.BatchNorm(8, rngs=nnx.Rngs(0))).mean(axis=1)
axes.plot(SIZES, deviation, "o-", label="measured")
axes.plot(SIZES, deviation[-1] * (64 / SIZES) ** 0.5, "k:", label="1 / root of the size")
axes.set_xscale("log", base=2)
axes.set(xlabel="batch size", ylabel="deviation of one example's answer")
axes.legend()
figure.suptitle("Batch normalization's answer to an example depends on its company")
figure

# %% [markdown]
# From some size on the noise falls as $1/\sqrt{\text{size}}$; layer, instance and group
# normalization have none. A little of it regularizes; much of it is why group
# normalization exists, for models whose batches must be small. (On digits, four epochs, the error
# does *not* rise from batch 32 to 2: `python -m experiments run normalization` says so honestly.
# On ImageNet it rises by 11 points.)
#
# ## Exercises
#
# ### Exercise 1: a batch of two
#
# What does batch normalization (γ = 1, β = 0, ε = 0) answer to a batch of two examples? And of one?
#
# <details><summary>Solution</summary>
#
# With two, each feature is half a difference above and below the mean, and the standard deviation
# is that half difference: the answers are +1 and −1, and all that is left of the inputs is which
# was larger. With one, $x - \mu = 0$: nothing is left.
#
# ```python
# layer = nn.BatchNorm(3, epsilon=0.0, rngs=nnx.Rngs(0))
# print(layer(jnp.array([[1.0, 2.0, 5.0], [1.1, -40.0, 7.0]])))
# print(layer(jnp.array([[1.0, 2.0, 5.0]])))
# ```
#
# ```text
# [[-1.  1. -1.]
#  [ 1. -1.  1.]]
# [[0. 0. 0.]]
# ```
#
# </details>
#
# ### Exercise 2: orthogonality
#
# Show $\langle W, \nabla f(W)\rangle = 0$ by differentiating $f(\alpha W) = f(W)$ by α at α = 1.
# Then check it, relative to $\lVert W\rVert \lVert\nabla f\rVert$, for a layer $Wx$ with batch
# normalization behind it and any loss.
#
# <details><summary>Solution</summary>
#
# $0 = \frac{d}{d\alpha} f(\alpha W) = \langle \nabla f(\alpha W), W\rangle$. It holds for each
# feature's row of weights by itself.
#
# ```python
# W = jax.random.normal(jax.random.key(1), (64, 16)) / 8
# layer = nn.BatchNorm(16, epsilon=0.0, rngs=nnx.Rngs(0))
# target = jax.random.normal(jax.random.key(2), (200, 16))
#
# def loss(W):
#     return jnp.mean((nnx.clone(layer)(images[:200] @ W) - target) ** 2)
#
# gradient = jax.grad(loss)(W)
# cosine = jnp.vdot(W, gradient) / jnp.linalg.norm(W) / jnp.linalg.norm(gradient)
# ratio = jnp.linalg.norm(jax.grad(loss)(2 * W)) / jnp.linalg.norm(gradient)
# print(f"cosine {abs(cosine):.3f}, gradient at twice the weights: {ratio:.3f} times")
# ```
#
# ```text
# cosine 0.000, gradient at twice the weights: 0.500 times
# ```
#
# </details>
#
# ### Exercise 3: weights grow
#
# By how much does $\lVert W\rVert^2$ grow in a step of gradient descent, exactly? Start from very
# small weights, $10^{-3}$ of the usual size, with η = 1: what happens in the first step? Does it
# hurt?
#
# <details><summary>Solution</summary>
#
# By Pythagoras $\lVert W'\rVert^2 = \lVert W\rVert^2 + \eta^2\lVert\nabla f\rVert^2$. At
# $10^{-3}$ of the size the gradient is $10^3$ times as large: the first step throws the weights
# far out, to a random place as it were, where gradients are tiny from then on. It does not diverge,
# but it will hardly learn: too small weights waste the first step and then the rate.
#
# ```python
# W = 1e-3 * jax.random.normal(jax.random.key(1), (64, 16)) / 8
# layer = nn.BatchNorm(16, epsilon=0.0, rngs=nnx.Rngs(0))
# target = jax.random.normal(jax.random.key(2), (200, 16))
#
# def loss(W):
#     return jnp.mean((nnx.clone(layer)(images[:200] @ W) - target) ** 2)
#
# gradient = jax.grad(loss)(W)
# after = W - gradient
# grown = jnp.sum(after**2) / (jnp.sum(W**2) + jnp.sum(gradient**2))
# later = jnp.linalg.norm(jax.grad(loss)(after)) / jnp.linalg.norm(gradient)
# print(f"Pythagoras: {grown:.4f}")
# print("weights more than 1000 times as long:", bool(jnp.sum(after**2) > 1e6 * jnp.sum(W**2)))
# print("gradient less than a thousandth:", bool(later < 1e-3))
# ```
#
# ```text
# Pythagoras: 1.0000
# weights more than 1000 times as long: True
# gradient less than a thousandth: True
# ```
#
# </details>
#
# ### Exercise 4: weight decay is a schedule
#
# Behind normalization, shrinking the weights by $1 - \eta\lambda$ a step does not change the
# function; it raises the effective rate by $(1-\eta\lambda)^{-2}$. So SGD with weight decay walks
# through the same functions as SGD without, at a rate that grows exponentially (Li and Arora). With
# η = 0.1 and λ = 5·10⁻⁴, by what factor does it grow in 1,000 steps without momentum? With
# momentum 0.9 the weights move ten times as far per gradient: guess, then use
# `theory.exponential_rate`.
#
# <details><summary>Solution</summary>
#
# $(1 - 5\cdot10^{-5})^{-2000} \approx e^{0.1}$. With momentum the decay acts through the velocity,
# too, ten times as strong: about $e$. The exact factor is the larger root α of
# $x^2 - (1 + \gamma - \lambda\eta)x + \gamma = 0$, to the power $-2$ a step.
#
# ```python
# for momentum in (0.0, 0.9):
#     rate = theory.exponential_rate(learning_rate=0.1, weight_decay=5e-4, decay=momentum)
#     alpha = float(rate.contraction)
#     print(f"momentum {momentum}: {alpha**-2000:.3f}")
# ```
#
# ```text
# momentum 0.0: 1.105
# momentum 0.9: 2.731
# ```
#
# That the two runs are the same to rounding, and that three near misses are not, is what
# `python -m experiments run exponential_rate` shows.
#
# </details>
#
# **Next:** [landscape and saddles](6_landscape_and_saddles.ipynb).

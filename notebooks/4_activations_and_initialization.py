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
# # 4. Activations and initialization
#
# *All cells run in about 20 seconds on two cores. Exercises are at the end: predict first, then
# unfold.*
#
# A deep network is a long product. What goes forward through it, and what comes back, is multiplied
# at every layer, and a product of many factors is either very small, very large, or carefully
# arranged. This notebook computes the factors and shows what becomes of networks in which they are
# wrong.

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
from flax import nnx
from matplotlib.figure import Figure

from experiments import activations, gradient_flow
from experiments.lab import data, notebook
from experiments.lab.signals import signals
from jaxopt_course import nn, training

notebook.use_style()
digits = data.load("digits").standardized(per_pixel=True)  # 1,500 images of 8 x 8 pixels

# %% [markdown]
# ## The functions and their slopes

# %%
x = np.linspace(-4, 4, 401, dtype=np.float32)
figure = Figure(figsize=(10, 3.8))
values, slopes = figure.subplots(1, 2)
for name in activations.ACTIVATIONS:
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(nn.activation(name))))(x)
    values.plot(x, value, label=name)
    slopes.plot(x, slope)
values.set(xlabel="x", ylabel="f(x)", ylim=(-1.2, 3), title="functions")
slopes.set(xlabel="x", ylabel="f'(x)", title="slopes")
values.legend(ncols=2)
figure.suptitle("The sigmoid's slope is never above 1/4; the ReLU's is 0 or 1")
figure

# %% [markdown]
# ## What comes back: a product of Jacobians
#
# With pre-activations $s_l = W_l h_{l-1} + b_l$ and $h_l = f(s_l)$, the derivatives of the loss
# $\delta_l = \partial L/\partial s_l$ obey
#
# $$\delta_l = f'(s_l) \odot W_{l+1}^\top \delta_{l+1}.$$
#
# Take weights that are independent with mean 0 and variance $\operatorname{Var} w$, and layers of
# $n$ units, many. Then $s_l$ is a sum of many terms, nearly normal with some variance $q$, and the
# mean squares multiply:
#
# $$\mathrm E\,\delta_l^2 = \underbrace{n \operatorname{Var} w}_{\text{weights}}\;
# \underbrace{\mathrm E\, f'(\sqrt q\, z)^2}_{\text{slopes}}\; \mathrm E\,\delta_{l+1}^2 ,
# \qquad z \sim \mathcal N(0, 1).$$
#
# - *Sigmoid:* slopes are at most ¼, so the second factor is at most 1/16. With weights of the usual
#   size, $n\operatorname{Var}w = 1$, the gradient loses at least a factor 4 a layer.
# - *ReLU:* half of the units have slope 1, half 0, so the factor is ½ whatever $q$ is.
# - *tanh:* near 1 as long as $q$ is small.
#
# `gradient_flow.predict` computes this product with Gaussian quadrature; `signals` measures it by
# automatic differentiation. Xavier's weights have variance $1/n$ here, Kaiming's `gain²/n`.

# %%
LAYERS, WIDTH = 7, 256
config = gradient_flow.Config(layers=LAYERS, width=WIDTH)
images = digits.train.images[:100].reshape(100, -1)
images = images / np.sqrt((images**2).mean(axis=1, keepdims=True))
labels = digits.train.labels[:100]


def model_of(name, scale):
    """Return a network with weights of variance scale² / fan_in."""

    def kernel_init(key, shape, dtype):
        return scale / shape[0] ** 0.5 * jax.random.normal(key, shape, dtype)

    return nn.MLP(
        (images.shape[1], *[WIDTH] * LAYERS, 10),
        activation=nn.activation(name),
        kernel_init=kernel_init,
        rngs=nnx.Rngs(0),
    )


@nnx.jit
def gradient_sizes(model):
    """Return the root mean square of delta in every hidden layer."""
    deltas = signals(model, images, labels).gradients[:-1]
    return jnp.stack([jnp.sqrt(jnp.mean(delta**2)) for delta in deltas])


figure = Figure(figsize=(10, 4))
panels = figure.subplots(1, 2, sharey=True)
layers = np.arange(1, LAYERS + 1)
for panel, start in zip(panels, ("Xavier", "Kaiming"), strict=True):
    for name in ("sigmoid", "tanh", "relu"):
        scale = 1.0 if start == "Xavier" else nn.gain(name)
        sizes = np.asarray(gradient_sizes(model_of(name, scale)))
        (line,) = panel.semilogy(layers, sizes / sizes[-1], label=f"{name}, measured")
        predicted = gradient_flow.predict(config, start, name, images.shape[1])
        panel.semilogy(layers, predicted, "o", color=line.get_color(), ms=5)
    panel.set(xlabel="hidden layer", title=start)
    panel.grid(axis="y")
panels[0].set_ylabel("size of the gradient, last layer = 1")
panels[1].legend(title="dots: predicted")
figure.suptitle("Each layer multiplies the gradient by a factor that can be predicted")
figure

# %% [markdown]
# The sigmoid loses a factor of about four a layer under Xavier's weights: after seven layers,
# nearly four orders of magnitude. It is not saturation (pre-activations are small here); the slope
# at its best place is ¼. ReLU under Xavier loses $\sqrt2$ a layer, and
# Kaiming's $\operatorname{Var} w = 2/n$ is exactly what repairs it.
#
# ## How large should weights be?
#
# Forward, the second moment is multiplied by $n_{\rm in}\operatorname{Var}w$ times what $f$ does to
# it; backward by $n_{\rm out}\operatorname{Var} w$ times the mean squared slope.
#
# - **Xavier** takes $f$ for the identity and asks for both factors to be 1. Where
#   $n_{\rm in} \ne n_{\rm out}$ that is impossible, and it settles for the middle:
#   $\operatorname{Var} w = 2/(n_{\rm in} + n_{\rm out})$.
# - **Kaiming** looks at the ReLU: $\mathrm E f(s)^2 = \tfrac12 \mathrm E s^2$, because half of a
#   symmetric distribution is cut off. Hence $\operatorname{Var} w = 2/n_{\rm in}$.
#
# A factor of 2 looks harmless. At 16 layers it is a factor of 30,000:

# %%
DEPTH, EPOCHS = 16, 8  # He et al. needed 30 layers of a convolutional network: raise DEPTH
features = (64, *[64] * (DEPTH - 1), 10)
batch = digits.train.images[:500].reshape(500, -1)
starts = {"Xavier": nn.xavier_normal(), "Kaiming": nn.kaiming_normal()}


def network(kernel_init, seed=0):
    return nn.MLP(features, kernel_init=kernel_init, rngs=nnx.Rngs(seed))


def second_moments(model, x):
    """Return the mean of h² behind every hidden layer."""
    moments = []
    for block in list(model.blocks)[:-1]:
        x = block(x)
        moments.append(float(jnp.mean(x**2)))
    return moments


figure = Figure(figsize=(10, 3.8))
sizes, losses = figure.subplots(1, 2)
shared = nn.functional_view(network(nn.zeros)).apply  # one program serves both networks
for name, kernel_init in starts.items():
    model = network(kernel_init)
    sizes.semilogy(range(1, DEPTH), second_moments(model, batch), label=name)
    view = nn.functional_view(model)._replace(apply=shared)
    fitted = training.fit(
        lambda _, view=view: view,
        optax.sgd(3e-3, momentum=0.9),
        digits.train,
        jax.random.split(jax.random.key(0), 1),
        epochs=EPOCHS,
        batch_size=50,
    )
    losses.plot(range(1, EPOCHS + 1), fitted.history["loss"][0], "o-", label=name)
sizes.semilogy(range(1, DEPTH), 0.5 ** np.arange(DEPTH - 1), "k:", label="½ a layer")
sizes.set(xlabel="layer", ylabel="E h² at the start")
losses.axhline(np.log(10), color="black", ls=":", lw=0.8)
losses.set(xlabel="epoch", ylabel="training loss (dotted: chance)", ylim=(0, 2.6))
sizes.legend()
figure.suptitle(f"{DEPTH} ReLU layers: Xavier's stay at chance, Kaiming's learn")
figure

# %% [markdown]
# Xavier's network is not at a bad minimum. It is on a plateau: its outputs hardly depend on the
# image, so neither does its gradient. Adam would get it moving; so would normalization, the subject
# of the [next notebook](5_normalization.ipynb), which arranges at run time what an initializer
# arranges once.
#
# ## Exercises
#
# ### Exercise 1: gains
#
# The factor on the weights that keeps the second moment is $1/\sqrt{\mathrm E f(z)^2}$. What is it
# for ReLU, for a leaky ReLU with slope 0.2, and for $f(s) = |s|$? And why does $\tanh$ need more
# than 1, though its slope at 0 is 1?
#
# <details><summary>Solution</summary>
#
# $\mathrm E f^2 = \tfrac12$, $\tfrac12(1 + 0.04)$ and $1$. tanh bends towards zero on both sides,
# so that at unit variance $\mathrm E\tanh(z)^2 < 1$.
#
# ```python
# gains = nn.gain("relu"), nn.gain("leaky_relu", alpha=0.2), nn.gain(jnp.abs), nn.gain("tanh")
# print(" ".join(f"{g:.4f}" for g in gains))
# ```
#
# ```text
# 1.4142 1.3868 1.0000 1.5925
# ```
#
# </details>
#
# ### Exercise 2: how deep can a sigmoid network be?
#
# Under Xavier's weights, after how many layers is the gradient a millionth of that at the end?
# First bound it with slope ¼, then use `gradient_flow.predict`.
#
# <details><summary>Solution</summary>
#
# $4^{-l} = 10^{-6}$ gives $l = 10$: no sigmoid network can do better. Pre-activations that
# are not all zero have smaller slopes, so the true number is a bit smaller.
#
# ```python
# deep = gradient_flow.Config(layers=20, width=WIDTH)
# predicted = gradient_flow.predict(deep, "Xavier", "sigmoid", 64)
# factor = (predicted[0] / predicted[-1]) ** (1 / 19)
# print(f"factor {factor:.3f} a layer, {np.log(1e-6) / np.log(factor):.1f} layers")
# ```
#
# ```text
# factor 0.236 a layer, 9.6 layers
# ```
#
# </details>
#
# ### Exercise 3: zero weights
#
# Set all weights of a network with one hidden layer of sigmoid units to zero. Which derivatives
# are zero? Are the others different from unit to unit? What follows for training?
#
# <details><summary>Solution</summary>
#
# All units answer ½, so the derivatives by the output weights are the same for every unit; those by
# the hidden weights go through the output weights, which are zero. After one step all units are
# still equal, now with equal output weights, and so on for ever: the network has one unit, many
# times. The symmetry is broken only by something that is different from unit to unit, and random
# weights are.
#
# ```python
# model = nn.MLP(
#     (64, 8, 10), activation=jax.nn.sigmoid, kernel_init=nn.zeros, rngs=nnx.Rngs(0)
# )
# apply, params, state = nn.functional_view(model)
#
# def loss(params):
#     return training.cross_entropy(apply(params, state, images)[0], labels).mean()
#
# hidden, output = (jax.grad(loss)(params)["blocks"][i]["layer"]["kernel"] for i in (0, 1))
# print("hidden weights:", float(abs(hidden).max()))
# print("output weights, difference between units:", float(jnp.ptp(output, axis=0).max()))
# print("output weights, largest above 0.001:", bool(abs(output).max() > 1e-3))
# ```
#
# ```text
# hidden weights: 0.0
# output weights, difference between units: 0.0
# output weights, largest above 0.001: True
# ```
#
# </details>
#
# ### Exercise 4: ten per cent too large
#
# Kaiming's standard deviation times 1.1: what is the second moment behind the 15th hidden layer
# over that behind the first? Does the same error matter at 5 layers?
#
# <details><summary>Solution</summary>
#
# Each layer multiplies the second moment by 1.21, so $1.21^{14} \approx 14$, give or take the
# fluctuations of layers of 64 units; at five layers about 2, which nobody would notice. Compared
# with the same random weights at their right size the factor is exact:
#
# ```python
# kaiming = nn.kaiming_normal()
#
# def scaled(factor):
#     return lambda key, shape, dtype: factor * kaiming(key, shape, dtype)
#
# right, large = (np.array(second_moments(network(scaled(f)), batch)) for f in (1.0, 1.1))
# print(f"{(large[-1] / large[0]) / (right[-1] / right[0]):.1f}")
# ```
#
# ```text
# 14.4
# ```
#
# </details>
#
# **Next:** [normalization](5_normalization.ipynb).

"""The objective that the first-order rules are followed on, in JAX and in torch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

_GENERATOR = np.random.default_rng(0)
_INPUTS = _GENERATOR.normal(size=(8, 3))
_TARGETS = _GENERATOR.normal(size=(8,))
_START = {
    "bias": 0.1 * _GENERATOR.normal(size=(5,)),
    "inner": _GENERATOR.normal(size=(3, 5)),
    "outer": [_GENERATOR.normal(size=(5,)), np.array(0.7)],
}


def _objective(params, library, inputs, targets):
    """A small network with a rippled penalty: smooth, not convex, leaves of ranks 0 to 2."""
    outer, scale = params["outer"]
    hidden = library.tanh(inputs @ params["inner"] + params["bias"][None])
    residuals = scale * (hidden @ outer) - targets
    ripple = library.cos(3 * params["inner"]).sum() + library.cos(3 * outer).sum()
    return (residuals**2).mean() + 0.1 * ripple


def _trajectory(optimizer, steps=200, dtype=None):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), _START)
    inputs, targets = jnp.asarray(_INPUTS, dtype), jnp.asarray(_TARGETS, dtype)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(_objective)(params, jnp, inputs, targets)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda: jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1])()


def _torch_trajectory(make_optimizer, steps=200, rates=None):
    import torch  # Most of what uses this file does without.

    params = jax.tree.map(lambda leaf: torch.tensor(leaf, requires_grad=True), _START)
    inputs, targets = torch.tensor(_INPUTS), torch.tensor(_TARGETS)
    optimizer = make_optimizer(jax.tree.leaves(params))
    iterates = []
    for index in range(steps):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates(index)
        optimizer.zero_grad()
        _objective(params, torch, inputs, targets).backward()
        optimizer.step()
        iterates.append(jax.tree.map(lambda leaf: leaf.detach().numpy().copy(), params))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *iterates)


@pytest.fixture
def trajectory():
    """`trajectory(optimizer, steps=200, dtype=None)`: the iterates, stacked."""
    return _trajectory


@pytest.fixture
def torch_trajectory():
    """`torch_trajectory(lambda leaves: torch.optim.SGD(leaves, ...))`: the same from torch."""
    return _torch_trajectory

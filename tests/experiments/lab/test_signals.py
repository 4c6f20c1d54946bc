import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.lab.signals import signals
from jaxopt_course.nn import MLP, functional_view
from jaxopt_course.training import cross_entropy


def test_signals_are_the_network_s_outputs_and_autodiff_s_gradients():
    model = MLP((6, 5, 4, 3), activation=jnp.tanh, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(1), (7, 6))
    labels = jnp.arange(7) % 3
    flow = signals(model, inputs, labels)
    np.testing.assert_allclose(flow.activations[-1], model(inputs), rtol=1e-6)
    apply, params, state = functional_view(model)

    def loss(params):
        return cross_entropy(apply(params, state, inputs)[0], labels).mean()

    gradient = jax.grad(loss)(params)
    for layer in range(3):
        expected = gradient["blocks"][layer]["layer"]
        norm = flow.weight_gradient_norms[layer]
        np.testing.assert_allclose(norm, jnp.linalg.norm(expected["kernel"]), rtol=1e-5)
        np.testing.assert_allclose(flow.gradients[layer].mean(0), expected["bias"], atol=1e-6)

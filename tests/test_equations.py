"""Equal texts mean equal computations, and known functions are known by what they hold."""

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxopt_course import _equations, problems, saddle, transforms
from jaxopt_course._tracing import trace_once

X = jnp.arange(1.0, 4.0)


def equations(fun, *examples):
    return trace_once(fun, *(examples or (X,))).equations


def with_rule(slope):
    @jax.custom_jvp
    def double(x):
        return 2 * x

    @double.defjvp
    def _(primals, tangents):
        return double(*primals), slope * tangents[0]  # it calls itself

    return lambda x: jnp.sum(double(x))


WAYS = {
    "scan": lambda a: lambda x: jax.lax.scan(lambda c, y: (c + a * y, None), 0.0, x)[0],
    "cond": lambda a: lambda x: jax.lax.cond(x[0] > a, jnp.sum, jnp.prod, x),
    "while": lambda a: lambda x: jax.lax.while_loop(lambda c: c[0] < a, lambda c: c + 1, x)[0],
    "custom_jvp": lambda a: with_rule(a),
    "relu": lambda a: lambda x: jnp.sum(jax.nn.relu(x - a)),
    "logaddexp": lambda a: lambda x: jnp.sum(jnp.logaddexp(x, a * x)),
    "checkpoint": lambda a: lambda x: jax.checkpoint(lambda x: jnp.sum(jnp.sin(a * x)))(x),
    "solve": lambda a: lambda x: jnp.sum(jnp.linalg.solve(jnp.outer(x, x) + a * jnp.eye(3), x)),
    "random": lambda a: lambda x: x @ jax.random.normal(jax.random.key(int(a)), (3,)),
    "jit": lambda a: jax.jit(lambda x: a * jnp.sum(x)),
    "gather": lambda a: lambda x: a * x[jnp.array([0, 2])].sum(),
    "zero": lambda a: lambda x: jnp.sum(x * (0.0 if a == 1.0 else -0.0)),
    "dtype": lambda a: lambda x: jnp.sum(x.astype(jnp.float16 if a == 1.0 else jnp.bfloat16)),
    "cross entropy": lambda a: (
        lambda x: a * optax.softmax_cross_entropy_with_integer_labels(x[None], jnp.array([1])).sum()
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_equal_functions_are_equal_and_others_are_not(way):
    one, same, other = (equations(WAYS[way](a)) for a in (1.0, 1.0, 2.0))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


def test_optimizers_of_numbers_are_known_without_a_trace():
    key = jax.random.key(0)
    known = [
        optax.sgd(0.1),
        optax.sgd(0.2),
        optax.adam(0.1),
        optax.chain(optax.clip(1.0), optax.sgd(optax.cosine_decay_schedule(0.1, 10))),
        transforms.perturbed_gradient_descent(0.1, 0.1, 0.1, 1, key),
        transforms.perturbed_gradient_descent(0.1, 0.1, 0.2, 1, key),
        problems.octopus(dimension=3).fun,
    ]
    said = [_equations.fingerprint(rule, key) for rule in known]
    assert None not in said
    assert len(set(said)) == len(said)
    assert said[0] == _equations.fingerprint(optax.sgd(0.1))
    # What somebody else wrote, or holds arrays, is to be traced.
    for unknown in (optax.sgd(lambda step: 0.1), lambda x: x, optax.scale(jnp.ones(()))):
        assert _equations.fingerprint(unknown) is None


def test_a_function_of_no_module_is_told_apart_like_any_other():
    names = {"jnp": jnp}
    exec("fun = lambda x: jnp.sum(x)", names)  # as a debugger or a page's test does
    del names["__builtins__"]
    assert _equations.fingerprint(names["fun"]) is None
    assert equations(names["fun"]) == equations(lambda x: jnp.sum(x))


def test_two_functions_of_one_line_are_two(monkeypatch):
    # As if they stood in this package, whose functions are known by what they hold.
    one, other = (lambda x: jnp.sum(x)), (lambda x: jnp.sum(2 * x))  # fmt: skip
    monkeypatch.setattr(_equations, "_KNOWN", ("tests", __name__.partition(".")[0]))
    said = [_equations.fingerprint(fun) for fun in (one, other, one)]
    assert None not in said
    assert said[0] == said[2] != said[1]


def test_a_function_that_only_bears_a_known_module_s_name_is_not_known():
    names = {"__name__": "jaxopt_course.saddle", "jnp": jnp}
    exec("fun = lambda x: jnp.sum(x)", names)
    assert _equations.fingerprint(names["fun"]) is None


def test_a_function_that_holds_a_variable_without_a_value_yet_is_not_known(monkeypatch):
    monkeypatch.setattr(_equations, "_KNOWN", ("tests", __name__.partition(".")[0]))

    def fun(x):
        return later(x)

    before = _equations.fingerprint(fun)
    later = jnp.abs
    assert before is None
    assert fun(jnp.ones(())) == 1


def test_a_rule_that_calls_its_own_function_has_equations_of_finite_length():
    """Both rules call the function; derivatives of it within `vmap` nest in JAX's own notes."""

    @jax.custom_vjp
    def bounded(x):
        return jnp.tanh(x)

    bounded.defvjp(lambda x: (bounded(x), x), lambda x, g: (g * (1 - bounded(x) ** 2),))

    def gradient(x):
        return jax.jit(lambda x: jax.vjp(jax.vmap(bounded), x)[1](jnp.ones_like(x)))(x)

    def model(weights, x):
        return bounded(x @ weights)

    equations(gradient)
    blocks = saddle.kfac_blocks(model, jnp.ones((3, 3)), jnp.ones((2, 3)))
    exact = saddle.kfac_blocks(lambda w, x: jnp.tanh(x @ w), jnp.ones((3, 3)), jnp.ones((2, 3)))
    assert jnp.allclose(blocks.blocks[0].outputs, exact.blocks[0].outputs, atol=1e-6)

"""What every rule that takes the objective promises, beyond the contract of all optimizers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import transforms

KEY = jax.random.key(0)


def escaping_adam(key=KEY):
    escape = transforms.escape_negative_curvature(0.5, 1e-2, 5, key=key)
    return optax.chain(optax.adam(0.1), escape)


def neon2_descent(key=KEY):
    escape = transforms.neon2(
        0.5,
        1e-2,
        5,
        key=key,
        smoothness=4.0,
        curvature=0.3,
        start_radius=1e-2,
        end_radius=0.1,
        num_steps=60,
    )
    return optax.chain(optax.sgd(0.1), escape)


def perturbed_accelerated(key=KEY):
    return transforms.perturbed_accelerated_gradient_descent(
        0.1,
        0.2,
        gamma=0.4,
        nce_radius=0.1,
        radius=1e-5,
        gradient_threshold=1e-2,
        interval=100,
        key=key,
    )


RULES = {
    "newton-eigh": functools.partial(transforms.newton, damping=0.5),
    "newton-cg": functools.partial(transforms.newton, damping=0.5, solver="cg"),
    "saddle-free-eigh": transforms.saddle_free_newton,
    "saddle-free-lanczos": functools.partial(transforms.saddle_free_newton, solver="lanczos"),
    "cubic-eigh": functools.partial(transforms.cubic_newton, 6.0),
    "cubic-lanczos": functools.partial(transforms.cubic_newton, 6.0, solver="lanczos"),
    "trust-region-eigh": transforms.trust_region,
    "trust-region-cg": functools.partial(transforms.trust_region, solver="cg"),
    "trust-region-lanczos": functools.partial(transforms.trust_region, solver="lanczos"),
    "escaping-adam": escaping_adam,
    "neon2": neon2_descent,
    "perturbed-accelerated": perturbed_accelerated,
}
ALL = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


def some(*names):
    """Run a test that compiles much for these rules only, which cover every solver and search."""
    return pytest.mark.parametrize("rule", [RULES[name] for name in names], ids=names)


def saddle_sum(tree):
    """Sum of x^2/2 + y^4/4 - y^2/2 over the pairs of (a, b), in a tree of two leaves."""
    x, y = tree["a"], tree["b"]
    return jnp.sum(x**2 / 2 + y**4 / 4 - y**2 / 2)


START = {"a": np.array([0.3, -0.2, 0.5]), "b": np.array([0.4, -0.3, 0.2])}


def start(dtype="float32"):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), START)


def run(optimizer, fun, params, steps):
    """Return parameters, state and values after `steps` steps, taken as `saddle.escape` does."""

    def step(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(fun)(params)
        updates, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=fun)
        return (optax.apply_updates(params, updates), state), value

    (params, state), values = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return params, state, values


@ALL
def test_updates_and_states_keep_structure_and_dtypes(rule, x64):
    for dtype in ("float32", "float64", "bfloat16"):
        params, optimizer = start(dtype), rule()
        state = optimizer.init(params)
        updates, new_state = jax.eval_shape(
            functools.partial(optimizer.update, value_fn=saddle_sum), params, state, params
        )
        described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (params, state))
        assert (
            jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (updates, new_state)) == described
        )


@ALL
def test_missing_arguments_give_one_error_that_names_the_cure(rule):
    params, optimizer = start(), rule()
    state = optimizer.init(params)
    with pytest.raises(ValueError, match=r"needs value_fn: call .*value_fn=fun"):
        optimizer.update(params, state, params)
    with pytest.raises(ValueError, match=r"needs params: call .*value_fn=fun"):
        optimizer.update(params, state, value_fn=saddle_sum)


@some("newton-eigh", "trust-region-cg", "escaping-adam", "perturbed-accelerated")
def test_the_objective_may_be_named_obj_fn_and_take_data(rule):
    def fun(tree, scale):
        return scale * saddle_sum(tree)

    params, optimizer = start(), rule()
    state, grads = optimizer.init(params), jax.grad(fun)(params, 2.0)

    @jax.jit
    def both(scale):
        bound = optimizer.update(
            grads, state, params, value_fn=lambda tree: 2.0 * saddle_sum(tree)
        )[0]
        named = optimizer.update(grads, state, params, obj_fn=fun, scale=scale, unused=1)[0]
        return bound, named

    bound, named = both(2.0)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), bound, named)


def test_an_objective_may_call_its_parameters_value():
    """`value` and `grad` are arguments of update, never data for the objective."""
    optimizer = transforms.newton()

    def fun(value, grad=1.0):
        return grad * jnp.sum(value**2) / 2

    @jax.jit
    def update(x):
        return optimizer.update(x, optimizer.init(x), x, value=0.0, grad=3 * x, value_fn=fun)[0]

    np.testing.assert_allclose(update(np.ones(2, np.float32)), -1.0)


def _initialise_and_update(optimizer, params):
    optimizer.update(params, optimizer.init(params), params, value_fn=lambda _: 0.0)


@ALL
def test_integer_parameters_are_refused_by_name(rule):
    params = {"a": jnp.zeros(2, jnp.int32)}
    with pytest.raises(TypeError, match=r"params\['a'\] must have a real floating dtype"):
        _initialise_and_update(rule(), params)


@some(
    "newton-cg",
    "cubic-eigh",
    "trust-region-cg",
    "trust-region-lanczos",
    "escaping-adam",
    "neon2",
    "perturbed-accelerated",
)
def test_a_batch_of_runs_equals_the_runs_one_by_one(rule, x64):
    batch = jax.tree.map(lambda leaf: np.stack([leaf, -2 * leaf, leaf / 2]), start("float64"))

    def final(params):
        return run(rule(), saddle_sum, params, 8)[0]

    together = jax.jit(jax.vmap(final))(batch)
    single = jax.jit(final)
    for i in range(3):
        alone = single(jax.tree.map(lambda leaf, i=i: leaf[i], batch))
        jax.tree.map(
            lambda t, a, i=i: np.testing.assert_allclose(t[i], a, rtol=1e-8, atol=1e-9),
            together,
            alone,
        )


def test_an_injected_hyperparameter_is_used():
    optimizer = optax.inject_hyperparams(transforms.newton)(damping=1.0)
    params = {"x": jnp.array([2.0])}
    state = optimizer.init(params)
    state.hyperparams["damping"] = 3.0

    def fun(tree):
        return jnp.sum(tree["x"] ** 2) / 2

    update = jax.jit(functools.partial(optimizer.update, value_fn=fun))
    updates, _ = update(params, state, params)
    np.testing.assert_allclose(updates["x"], -2.0 / (1 + 3))


@pytest.mark.parametrize("size", [jnp.asarray(3), 2.0, 0, True])
def test_a_subspace_size_that_is_not_a_static_number_is_refused(size):
    with pytest.raises(TypeError, match=r"subspace_size must be a positive integer.*static_args"):
        transforms.saddle_free_newton(solver="lanczos", subspace_size=size)


# Convergence


def smooth_convex(tree):
    """Return a strongly convex function with a cubic term at its minimum, coupling both leaves."""
    w, b = tree["a"], tree["b"]
    skew = jnp.arange(1.0, 4.0, dtype=w.dtype)
    return jnp.sum(jnp.exp(w) - skew * w) + jax.nn.logsumexp(b + w[::-1]) + jnp.sum(b**2)


QUADRATIC = {
    "newton-eigh": transforms.newton,
    "newton-cg": functools.partial(transforms.newton, solver="cg"),
    "saddle-free-eigh": transforms.saddle_free_newton,
    "saddle-free-lanczos": functools.partial(transforms.saddle_free_newton, solver="lanczos"),
    "cubic-eigh": functools.partial(transforms.cubic_newton, 3.0),
    "cubic-lanczos": functools.partial(transforms.cubic_newton, 3.0, solver="lanczos"),
    "trust-region-eigh": transforms.trust_region,
    "trust-region-cg": functools.partial(transforms.trust_region, solver="cg"),
    "trust-region-lanczos": functools.partial(transforms.trust_region, solver="lanczos"),
}


@pytest.mark.parametrize("rule", QUADRATIC.values(), ids=QUADRATIC.keys())
def test_convergence_to_a_strict_minimum_is_quadratic(rule, x64):
    params, optimizer = start("float64"), rule()

    @jax.jit
    def gradient_norms(params):
        def step(carry, _):
            params, state = carry
            grad = jax.grad(smooth_convex)(params)
            updates, state = optimizer.update(grad, state, params, value_fn=smooth_convex)
            return (optax.apply_updates(params, updates), state), optax.tree.norm(grad)

        return jax.lax.scan(step, (params, optimizer.init(params)), length=16)[1]

    norms = gradient_norms(params).tolist()
    assert min(norms) < 1e-13
    # The order from three consecutive errors, the last of them above the rounding errors.
    small = [norm for norm in norms if norm > 1e-13]
    orders = [
        math.log(third / second) / math.log(second / first)
        for first, second, third in zip(small, small[1:], small[2:], strict=False)
        if second < 0.1
    ]
    assert orders
    assert orders[-1] > 1.7, (norms, orders)


def lee(x):
    """Nesterov's example, on which Lee et al. (2016) show gradient descent's saddle."""
    return x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2


def ends(optimizer, starts, steps=40):
    return jax.jit(jax.vmap(lambda x: run(optimizer, lee, x, steps)[0]))(starts)


NEAR_SADDLE = np.array([[0.5, 0.1], [0.5, -0.3], [-1.0, 0.01], [0.2, 0.4]])


def test_newton_is_attracted_by_the_saddle(x64):
    np.testing.assert_allclose(ends(transforms.newton(), NEAR_SADDLE), 0.0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in RULES if not name.startswith("newton")])
def test_the_others_leave_the_saddle_for_a_minimum(name, x64):
    optimizer, steps = RULES[name](), 40
    if name in ("escaping-adam", "neon2", "perturbed-accelerated"):
        steps = 300
    found = ends(optimizer, NEAR_SADDLE, steps)
    np.testing.assert_allclose(np.abs(found), [[0.0, 1.0]] * 4, atol=1e-4)


FROM_EXACT_SADDLE = [
    "cubic-eigh",
    "cubic-lanczos",
    "trust-region-eigh",
    "trust-region-lanczos",
    "escaping-adam",
    "neon2",
    "perturbed-accelerated",
]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float64") for name in FROM_EXACT_SADDLE]
    + [("cubic-eigh", "float32"), ("trust-region-lanczos", "float32"), ("neon2", "float32")],
)
def test_an_exact_saddle_with_zero_gradient_is_left(name, dtype, x64):
    steps = 300 if name in ("escaping-adam", "neon2", "perturbed-accelerated") else 40
    x = ends(RULES[name](), np.zeros((1, 2), dtype), steps)
    np.testing.assert_allclose(np.abs(x), [[0.0, 1.0]], atol=1e-4)
    assert x.dtype == dtype


@some(
    "newton-eigh", "newton-cg", "saddle-free-lanczos", "cubic-eigh", "trust-region-lanczos", "neon2"
)
def test_a_zero_hessian_gives_finite_steps(rule):
    """A deep linear network at W = 0: gradient, Hessian and third derivative vanish."""

    def chain(w):
        return (w[0] * w[1] * w[2] * w[3] - 1) ** 2 / 2

    params, _, _ = jax.jit(lambda w: run(rule(), chain, w, 3))(np.zeros(4, np.float32))
    assert np.all(np.isfinite(params))

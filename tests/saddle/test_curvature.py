"""Products and extreme eigenpairs of Hessians, against the dense ones."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_course import saddle

RNG = np.random.default_rng(0)
DATA = {"x": RNG.standard_normal((32, 6)), "y": np.sin(np.arange(32.0))}
POINTS = {"w": RNG.standard_normal((3, 6, 7)), "o": RNG.standard_normal((3, 7))}
POINT = jax.tree.map(lambda leaf: leaf[0], POINTS)
N = 49


def loss(params, batch):
    out = jnp.tanh(batch["x"] @ params["w"]) @ params["o"]
    return jnp.mean((out - batch["y"]) ** 2)


def objective(dtype=None):
    return saddle.mean_over_batches(loss, jax.tree.map(lambda d: np.asarray(d, dtype), DATA), 16)


@jax.jit
def dense(fun, x):
    flat, unravel = jax.flatten_util.ravel_pytree(x)
    return jax.hessian(lambda flat: fun(unravel(flat)))(flat)


# The objective is an argument, and its data with it: one program for all data of a shape.
@functools.partial(jax.jit, static_argnames=("which", "options"))
def pairs(fun, x, which="both", options=()):
    return saddle.extreme_eigenpairs(
        fun, x, k=2, which=which, key=jax.random.key(0), **dict(options)
    )


def flat_rows(tree):
    return np.asarray(jax.vmap(lambda t: jax.flatten_util.ravel_pytree(t)[0])(tree))


def check(found, matrix):
    """Whether the four pairs are those of `matrix`, and their residuals what they say."""
    expected = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(found.eigenvalues, expected[[0, 1, -2, -1]], atol=1e-9)
    vectors, values = flat_rows(found.eigenvectors), np.asarray(found.eigenvalues)
    residuals = np.linalg.norm(vectors @ matrix - values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(found.residual_norms, residuals, atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-9)
    assert found.converged.all()
    assert found.finite
    assert found.precision_floor < 1e-13


def test_both_ends_of_a_network_at_one_point_and_at_a_batch_of_points(x64):
    fun = objective()
    found = pairs(fun, POINT)
    check(found, np.asarray(dense(fun, POINT)))
    assert jax.tree.map(jnp.shape, found.eigenvectors) == {"w": (4, 6, 7), "o": (4, 7)}
    assert found.num_products < 200
    batch = jax.vmap(pairs, (None, 0))(fun, POINTS)
    for i in range(3):
        member = jax.tree.map(lambda leaf, i=i: leaf[i], batch)
        check(member, np.asarray(dense(fun, jax.tree.map(lambda leaf, i=i: leaf[i], POINTS))))
    # The key decides all: the same point has the same result.
    jax.tree.map(np.testing.assert_array_equal, found, pairs(fun, POINT))


def test_data_sharded_over_devices_give_the_same_pairs(x64):
    # Two devices: collectives of many on few cores may starve, and XLA then ends the process.
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    fun = objective()
    found = pairs(fun.replace(data=jax.device_put(fun.data, sharding)), POINT)
    assert len(found.eigenvalues.sharding.device_set) == 2
    check(jax.tree.map(np.asarray, found), np.asarray(dense(fun, POINT)))


def test_gauss_newton_is_the_hessian_of_the_linearized_model(x64):
    batch = DATA

    def model(params):
        return jnp.tanh(batch["x"] @ params["w"]) @ params["o"]

    def loss_of(out):
        return jnp.mean((out - batch["y"]) ** 2)

    def linearized(params):
        out, tangent = jax.jvp(model, (POINT,), (jax.tree.map(jnp.subtract, params, POINT),))
        return loss_of(out + tangent)

    v = jax.tree.map(np.cos, POINT)
    expected = jax.jit(lambda v: saddle.hvp(linearized, POINT, v))(v)
    found = jax.jit(lambda v: saddle.gauss_newton_product(model, loss_of, POINT, v))(v)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-13), found, expected)
    # As an objective, it has this product for its curvature.
    curvature = jax.jit(lambda v: saddle.GaussNewton(model, loss_of).curvature(POINT)(v))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-13), curvature(v), expected)


@pytest.mark.parametrize("family", ["categorical", "bernoulli", "gaussian"])
def test_fisher_is_the_sum_over_what_the_model_could_draw_and_the_empirical_one_is_not(x64, family):
    """Sums written out over every label, weighted by the model's own probabilities."""
    x = DATA["x"][:5]

    def model(params):
        return jnp.tanh(x @ params["w"]) @ (params["o"][:, None] * jnp.array([[1.0, -0.5, 2.0]]))

    def minus_log(outputs, labels):
        if family == "categorical":
            return -jnp.sum(jax.nn.log_softmax(outputs) * labels, axis=-1)
        if family == "bernoulli":
            return jnp.sum(jax.nn.softplus(outputs) - labels * outputs, axis=-1)
        return jnp.sum((outputs - labels) ** 2, axis=-1) / 2

    flat, unravel = jax.flatten_util.ravel_pytree(POINT)
    outputs = model(POINT)
    if family == "categorical":
        labels = [np.broadcast_to(row, (5, 3)) for row in np.eye(3)]
        weights = [jax.nn.softmax(outputs)[:, c] for c in range(3)]
    elif family == "bernoulli":
        signs = list(itertools.product((0.0, 1.0), repeat=3))
        labels = [np.broadcast_to(row, (5, 3)) for row in signs]
        p = jax.nn.sigmoid(outputs)
        weights = [jnp.prod(jnp.where(row == 1, p, 1 - p), axis=1) for row in np.array(signs)]
    else:  # Two draws that have mean and variance of the Gaussian in each output.
        labels = [outputs + sign * np.sqrt(3) * row[None] for row in np.eye(3) for sign in (-1, 1)]
        weights = [np.full(5, 1 / 6)] * 6

    def slopes(labels):
        return jax.jacobian(lambda flat: minus_log(model(unravel(flat)), labels))(flat)

    gradients = [slopes(row) for row in labels]
    expected = sum(
        jnp.einsum("n,ni,nj->ij", w, g, g) for w, g in zip(weights, gradients, strict=True)
    )
    v = jax.tree.map(np.cos, POINT)
    flat_v, _ = jax.flatten_util.ravel_pytree(v)
    found = jax.jit(lambda v: saddle.fisher_product(model, POINT, v, family=family))(v)
    found = jax.flatten_util.ravel_pytree(found)[0]
    np.testing.assert_allclose(found, expected @ flat_v / 5, rtol=1e-10, atol=1e-12)
    losses = lambda params: minus_log(model(params), labels[0])  # noqa: E731
    product = jax.jit(lambda v: saddle.empirical_fisher_product(losses, POINT, v))(v)
    product = jax.flatten_util.ravel_pytree(product)[0]
    g = gradients[0]
    np.testing.assert_allclose(product, g.T @ (g @ flat_v) / 5, rtol=1e-10, atol=1e-12)
    assert np.linalg.norm(product - found) > 0.1 * np.linalg.norm(found)


def test_a_start_near_the_wanted_eigenvector_saves_products(x64):
    matrix = jnp.asarray(np.diag(np.linspace(0, 1, 300) ** 2))
    wanted = jnp.eye(300)[-1]
    options = {"which": "largest", "key": jax.random.key(0), "basis_size": 10, "tolerance": 1e-6}

    def search(start):
        return saddle.extreme_eigenpairs(
            lambda x: x @ matrix @ x / 2, jnp.ones(300), start=start, **options
        )

    near, far = search(wanted + 1e-4 * jnp.cos(jnp.arange(300))), search(None)
    np.testing.assert_allclose([near.eigenvalues[0], far.eigenvalues[0]], 1, rtol=1e-6)
    assert near.num_products < far.num_products / 3
    with pytest.raises(ValueError, match="start must have the shape"):
        search(jnp.ones(3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: saddle.fisher_product(jnp.sin, x, x), ValueError, r"shape \(N, classes\)"),
        (lambda x: saddle.fisher_product(jnp.sum, x, x, family="gaussian"), ValueError, "N, ..."),
        (lambda x: saddle.fisher_product(lambda x: [x], x, x), TypeError, "model must return"),
        (lambda x: saddle.fisher_product(jnp.sin, x, x, family="poisson"), ValueError, "family"),
        (lambda x: saddle.empirical_fisher_product(jnp.sum, x, x), ValueError, r"\(N,\)"),
    ],
)
def test_a_fisher_product_names_what_has_no_examples(call, error, message):
    with pytest.raises(error, match=message):
        call(jnp.ones(3))


def test_hvp_is_the_product_with_the_dense_hessian(x64):
    fun = objective()
    v = jax.tree.map(np.cos, POINT)
    found = jax.flatten_util.ravel_pytree(jax.jit(saddle.hvp)(fun, POINT, v))[0]
    flat = jax.flatten_util.ravel_pytree(v)[0]
    np.testing.assert_allclose(found, dense(fun, POINT) @ flat, atol=1e-13)


def test_float32_states_its_floor_and_never_calls_unconverged_converged():
    point = jax.tree.map(lambda leaf: leaf.astype(np.float32), POINT)
    found = pairs(objective(np.float32), point, options=(("tolerance", 1e-9),))
    assert not found.converged.any()
    with jax.enable_x64(True):
        exact = np.linalg.eigvalsh(dense(objective(), jax.tree.map(np.float64, point)))
    errors = np.abs(np.asarray(found.eigenvalues, np.float64) - exact[[0, 1, -2, -1]])
    # What is not to be had in float32 is not promised: the residuals stay at the floor.
    assert np.all(errors <= np.asarray(found.residual_norms) + float(found.precision_floor))
    assert 1e-8 < found.precision_floor / found.operator_norm < 1e-5


def test_half_precision_parameters_have_float32_eigenvectors():
    x = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(2)}
    fun = jax.tree_util.Partial(lambda x: jnp.sum(x["a"] ** 2) - 2 * jnp.sum(x["b"] ** 2))
    found = pairs(fun, x, which="smallest")
    np.testing.assert_allclose(found.eigenvalues, [-4.0, -4.0])
    assert found.eigenvectors["a"].dtype == jnp.float32


def test_a_hessian_that_is_not_finite_is_reported(x64):
    broken = jax.tree.map(lambda leaf: leaf.at[3].set(jnp.nan), objective().data)
    found = pairs(objective().replace(data=broken), POINT)
    assert not found.finite
    assert not found.converged.any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"which": "top"}, ValueError, "which must be one of 'smallest', 'largest', 'both'"),
        ({"k": 0}, ValueError, "k must be positive, got 0"),
        ({"k": 4}, ValueError, "k must be at most 3 for 3 parameters and which='smallest', got 4"),
        ({"k": 2, "which": "both"}, ValueError, "k must be at most 1 for 3 parameters"),
        ({"key": 0}, TypeError, r"key must be a typed key such as jax.random.key\(0\)"),
        ({"tolerance": -1.0}, ValueError, r"tolerance must not be negative, got -1.0"),
    ],
)
def test_impossible_requests_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        saddle.extreme_eigenpairs(
            lambda x: x @ x, jnp.ones(3), **{"key": jax.random.key(0), **options}
        )


KEY = jax.random.key(0)
# What each function gives by its dtype: its first field, computed in float32 at least.
FUNCTIONS = {
    "hvp": lambda x: saddle.hvp(square, x, x),
    "gauss_newton_product": lambda x: saddle.gauss_newton_product(root, square, x, x),
    "fisher_product": lambda x: saddle.fisher_product(rows, x, x),
    "empirical_fisher_product": lambda x: saddle.empirical_fisher_product(
        lambda x: rows(x)[:, 0], x, x
    ),
    "extreme_eigenpairs": lambda x: saddle.extreme_eigenpairs(square, x, key=KEY).eigenvalues,
    "spectral_density": lambda x: (
        saddle.spectral_density(square, x, num_steps=2, num_probes=2, key=KEY).nodes
    ),
    "trace": lambda x: saddle.trace(square, x, num_probes=2, key=KEY).value,
    "diagonal": lambda x: saddle.diagonal(square, x, num_probes=2, key=KEY).value,
    "classify, dense": lambda x: saddle.classify(square, x, method="dense").eigenvalues,
    "classify, lanczos": lambda x: saddle.classify(square, x, method="lanczos").eigenvalues,
    "min_eigenvalue": lambda x: saddle.min_eigenvalue(square, x),
}
# A product is like the parameters.
LIKE_PARAMETERS = (
    "hvp",
    "gauss_newton_product",
    "fisher_product",
    "empirical_fisher_product",
)


def rows(x):
    return jnp.stack([jnp.sin(x["w"]), jnp.cos(x["w"])], axis=1)


def square(x):
    return jnp.sum(x["w"] ** 2)


def root(x):
    return {"w": jnp.sin(x["w"])}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_takes_every_real_dtype_and_names_the_leaf_of_others(x64, function):
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        found = jax.eval_shape(FUNCTIONS[function], {"w": jnp.ones(3, dtype)})
        like = dtype if function in LIKE_PARAMETERS else jnp.promote_types(dtype, "float32")
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(like)}
    for dtype in ("int32", "bool", "complex64"):
        with pytest.raises(TypeError, match=r"x\['w'\] must have a real floating dtype, got"):
            jax.eval_shape(FUNCTIONS[function], {"w": jnp.ones(3, dtype)})


def test_products_of_half_precision_are_rounded_once():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.standard_normal((50, 20)), jnp.float32)
    halves = [jnp.asarray(rng.standard_normal((20, 3)), jnp.bfloat16) for _ in range(2)]
    wide = [leaf.astype(jnp.float32) for leaf in halves]

    def model(w):
        return jnp.tanh(inputs.astype(w.dtype) @ w)

    products = {
        family: functools.partial(saddle.fisher_product, model, family=family)
        for family in ("categorical", "bernoulli", "gaussian")
    }
    products["Gauss-Newton"] = functools.partial(
        saddle.gauss_newton_product, model, lambda out: jnp.mean(out**4)
    )
    products["empirical"] = functools.partial(
        saddle.empirical_fisher_product, lambda w: jnp.sum(model(w) ** 4, axis=1)
    )
    for name, product in products.items():
        half, single = product(*halves), product(*wide)
        assert half.dtype == jnp.bfloat16
        np.testing.assert_array_equal(half, single.astype(jnp.bfloat16), err_msg=name)


def test_vectors_are_wide_where_parameters_are_half():
    matrix = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    matrix = (matrix + matrix.T) / 2

    def fun(x):
        return x @ matrix @ x / 2

    half, single = (
        saddle.extreme_eigenpairs(fun, jnp.zeros(60, dtype), which="both", key=KEY)
        for dtype in ("bfloat16", "float32")
    )
    assert half.converged.all()
    assert half.num_products == single.num_products
    np.testing.assert_array_equal(half.eigenvalues, single.eigenvalues)


def test_callbacks_within_a_compiled_function_hear_of_every_restart():
    values, heard = jnp.linspace(1, 2, 200), []

    @jax.jit
    def smallest(x):
        pairs = saddle.extreme_eigenpairs(
            lambda x: values @ x**2 / 2, x, key=KEY, callback=heard.append
        )
        return pairs.eigenvalues

    for times in (1, 2):
        jax.block_until_ready(smallest(times * jnp.ones(200)))
    jax.effects_barrier()
    # The same restarts twice, and no products in between.
    products = [progress.products for progress in heard]
    assert len(products) >= 2
    assert min(products) > 10


def test_callbacks_hear_of_every_restart_and_every_probe():
    values = jnp.linspace(1, 2, 200)

    def fun(x):
        return values @ x**2 / 2

    calls = {
        "pairs": lambda f: saddle.extreme_eigenpairs(fun, jnp.ones(200), key=KEY, callback=f),
        "point": lambda f: saddle.classify(fun, jnp.ones(200), method="lanczos", callback=f),
        "trace": lambda f: saddle.trace(fun, jnp.ones(200), num_probes=3, key=KEY, callback=f),
        "density": lambda f: saddle.spectral_density(
            fun, jnp.ones(200), num_steps=4, num_probes=3, key=KEY, callback=f
        ),
    }
    heard = {name: [] for name in calls}
    for name, call in calls.items():
        jax.block_until_ready(call(heard[name].append))
    jax.effects_barrier()
    assert sorted(progress.products for progress in heard["trace"]) == [1, 2, 3]
    assert sorted(progress.products for progress in heard["density"]) == [4, 8, 12]
    for name in ("pairs", "point"):
        last = max(heard[name])
        assert last.products <= last.at_most == 2000
        assert 0 <= last.residual < 1e-3
    # Between restarts, too, with the time that is left if it does not end earlier.
    products = [progress.products for progress in heard["point"]]
    assert np.diff([0, *products]).max() <= 10
    timed = [progress for progress in heard["point"] if progress.products > 10]
    assert all(progress.seconds_left >= 0 and progress.seconds > 0 for progress in timed)
    assert "products, residual" in str(last)
    with pytest.raises(TypeError, match="callback must be a function"):
        saddle.trace(fun, jnp.ones(200), num_probes=3, key=KEY, callback=3)

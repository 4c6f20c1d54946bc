"""Classification is what the eigenvalues say, in any variables, structure and precision."""

from functools import partial

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxopt_course import saddle
from jaxopt_course.saddle import Kind, _stationary

DIMENSION = 5


def kind_of(signs):
    """Return what a quadratic with curvatures of these signs is at its center."""
    positive, negative = np.sum(signs > 0), np.sum(signs < 0)
    if positive == signs.size:
        return Kind.MINIMUM
    if negative == signs.size:
        return Kind.MAXIMUM
    if positive and negative:
        return Kind.STRICT_SADDLE
    return Kind.DEGENERATE


@partial(jax.jit, static_argnames="dtype")
def classify_quadratic(signs, sizes, rotation, center, dtype):
    """Classify the center of a rotated quadratic whose parameters are a pytree of two leaves."""
    matrix = (rotation @ jnp.diag(signs * sizes) @ rotation.T).astype(dtype)
    center = center.astype(dtype)

    def fun(params):
        offset = jnp.concatenate([params["a"], params["b"].reshape(-1)]) - center
        return 0.5 * offset @ matrix @ offset

    return saddle.classify(fun, {"a": center[:1], "b": center[1:].reshape(2, 2)})


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    signs=st.lists(st.sampled_from([-1, 0, 1]), min_size=DIMENSION, max_size=DIMENSION),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_signature_is_recognised_in_any_orthogonal_variables(signs, seed, dtype):
    signs = np.array(signs)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))
    sizes = rng.uniform(0.5, 50, DIMENSION)
    point = classify_quadratic(signs, sizes, rotation, rng.normal(size=DIMENSION), dtype)

    assert Kind(int(point.kind)) == kind_of(signs)
    assert point.index == np.sum(signs < 0)
    assert point.nullity == np.sum(signs == 0)
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(point.eigenvalues, np.sort(signs * sizes), atol=2e3 * eps)
    direction, _ = ravel_pytree(point.escape_direction)
    assert point.eigenvalues.dtype == direction.dtype == dtype
    direction = rotation.T @ np.asarray(direction)
    curvature = np.sum(signs * sizes * direction**2)
    np.testing.assert_allclose(curvature, np.min(signs * sizes), atol=2e3 * eps)


def test_monkey_saddle_and_quartics_are_left_undecided():
    for fun in (
        lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2,
        lambda x: x[0] ** 4 + x[1] ** 4,
        lambda x: x[0] ** 4 - x[1] ** 4,
        lambda x: x[0] ** 2 + x[1] ** 4,
    ):
        assert saddle.classify(fun, jnp.zeros(2)).kind == Kind.DEGENERATE


def test_a_point_with_a_gradient_is_not_stationary_whatever_its_hessian():
    def bowl(x):
        return jnp.sum(x**2)

    assert saddle.classify(bowl, jnp.array([0.0, 0.1])).kind == Kind.NOT_STATIONARY
    assert saddle.classify(lambda x: jnp.sum(x), jnp.zeros(2)).kind == Kind.NOT_STATIONARY
    assert saddle.classify(lambda x: jnp.sum(x) / 0, jnp.zeros(2)).kind == Kind.NOT_STATIONARY


def test_tolerances_follow_the_scale_of_the_function():
    for scale in (1e-12, 1.0, 1e12):
        point = saddle.classify(lambda x, s=scale: s * (x[0] ** 2 - x[1] ** 2), jnp.full(2, 1e-7))
        assert point.kind == Kind.STRICT_SADDLE
        np.testing.assert_allclose(point.eigenvalues, [-2 * scale, 2 * scale], rtol=1e-6)


def test_given_tolerances_are_used_and_returned():
    def fun(x):
        return x[0] ** 2 + 1e-3 * x[1] ** 2

    point = saddle.classify(
        fun, jnp.array([0.01, 0.0]), gradient_tolerance=0.1, eigenvalue_tolerance=0.01
    )
    assert point.kind == Kind.DEGENERATE
    assert point.nullity == 1
    np.testing.assert_allclose(point.gradient_tolerance, 0.1)
    np.testing.assert_allclose(point.eigenvalue_tolerance, 0.01)


def test_a_batch_is_classified_by_vmap_under_jit():
    def fun(x):
        return x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2

    points = jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])
    kinds = jax.jit(jax.vmap(partial(saddle.classify, fun)))(points).kind
    assert kinds.tolist() == [
        Kind.STRICT_SADDLE,
        Kind.MINIMUM,
        Kind.MINIMUM,
        Kind.NOT_STATIONARY,
    ]


def test_half_precision_parameters_are_widened():
    point = saddle.classify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2, jnp.bfloat16))
    assert point.kind == Kind.STRICT_SADDLE
    assert point.eigenvalues.dtype == jnp.float32


def test_smallest_eigenvalue_is_differentiable():
    gradient = jax.grad(
        lambda a: saddle.min_eigenvalue(lambda x: a * x[0] ** 2 + x[1] ** 2, jnp.zeros(2))
    )
    np.testing.assert_allclose(gradient(-3.0), 2.0)


@pytest.mark.parametrize(
    ("fun", "x", "error", "message"),
    [
        (jnp.sum, jnp.arange(3), TypeError, "x must have a real floating dtype, got int32"),
        (jnp.sum, {"a": jnp.ones(2, complex)}, TypeError, r"x\['a'\] must have a real floating"),
        (jnp.sum, {}, ValueError, "x must hold at least one parameter"),
        (jnp.sum, jnp.zeros((0,)), ValueError, "x must hold at least one parameter"),
        (jnp.sin, jnp.ones(3), TypeError, "fun must return one real number"),
        (lambda x: (x.sum(), x), jnp.ones(3), TypeError, "fun must return one real number"),
        ("f", jnp.ones(3), TypeError, "fun must be a function of the parameters, got 'f'"),
    ],
    ids=range(7),
)
def test_bad_input_is_named(fun, x, error, message):
    with pytest.raises(error, match=message):
        saddle.classify(fun, x)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="gradient_tolerance must not be negative, got -1"):
        saddle.classify(jnp.sum, jnp.ones(2), gradient_tolerance=-1)


@pytest.fixture
def factorization(x64):
    """Return `1/2 |U U^T - M|^2` and its minimum, a U of rank 2 whose rotations are minima too."""
    del x64
    target = jnp.diag(jnp.array([4.0, 1.0, 0.5]))
    factor = jnp.zeros((3, 2)).at[0, 0].set(2).at[1, 1].set(1)
    angle = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    return lambda u: jnp.sum((u @ u.T - target) ** 2) / 2, factor @ angle


def test_minima_on_a_common_orbit_are_minima_once_the_symmetry_is_named(factorization):
    fun, factor = factorization
    without = saddle.classify(fun, factor)
    assert (without.kind, without.nullity) == (Kind.DEGENERATE, 1)
    named = saddle.classify(fun, factor, null_space=saddle.rotation_null_space)
    given = saddle.classify(fun, factor, null_space=saddle.rotation_null_space(factor))
    matrix_free = saddle.classify(
        fun, factor, null_space=saddle.rotation_null_space, method="lanczos"
    )
    for point in (named, given, matrix_free):
        assert point.kind == Kind.MINIMUM
        assert point.null_space_used
        assert point.null_space_residual < 1e-12
    assert (named.index, named.nullity) == (0, 1)
    np.testing.assert_allclose(named.eigenvalues, without.eigenvalues, atol=1e-12)
    assert matrix_free.eigenvalues.shape == (4,)
    np.testing.assert_allclose(matrix_free.min_eigenvalue, without.eigenvalues[1], rtol=1e-9)


def test_directions_that_are_not_flat_are_found_out_and_not_used(factorization):
    fun, factor = factorization
    point = saddle.classify(fun, factor, null_space=factor[None])
    assert point.kind == Kind.DEGENERATE
    assert not point.null_space_used
    assert point.null_space_residual > 1


def test_dependent_directions_count_once():
    # At the origin no rotation moves anything, and the point is what it is without them.
    point = saddle.classify(
        lambda u: jnp.sum((u @ u.T - jnp.eye(2)) ** 2),
        jnp.zeros((2, 2)),
        null_space=saddle.rotation_null_space,
    )
    assert (point.kind, point.index) == (Kind.MAXIMUM, 4)


@pytest.mark.usefixtures("x64")
def test_networks_with_known_symmetries_have_minima():
    def linear(weights):
        return jnp.sum((weights[1] @ weights[0] - jnp.diag(jnp.array([3.0, 1.0]))) ** 2)

    balanced = jnp.diag(jnp.array([3.0**0.5, 1.0]))
    point = saddle.classify(
        linear, (balanced, balanced), null_space=saddle.change_of_basis_null_space
    )
    assert (point.kind, point.nullity) == (Kind.MINIMUM, 4)

    inputs = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.5], [0.5, -1.0], [-1.0, -2.0]])
    teacher = {"in": jnp.array([[1.0, 0.3], [-0.4, 1.0]]), "out": jnp.array([1.0, -2.0])}

    def outputs(params):
        return jax.nn.relu(inputs @ params["in"].T) @ params["out"]

    def relu(params):
        return jnp.sum((outputs(params) - outputs(teacher)) ** 2)

    def rescaling(params):
        return dict(zip(("in", "out"), saddle.rescaling_null_space(*params.values()), strict=True))

    assert saddle.classify(relu, teacher).kind == Kind.DEGENERATE
    assert saddle.classify(relu, teacher, null_space=rescaling).kind == Kind.MINIMUM


def test_the_method_follows_the_cost_of_the_hessian_not_the_number_of_parameters_alone():
    matrix = jnp.ones((1000, 1000))

    def costly(x):
        return jnp.sum(jnp.sin(matrix @ (x[0] * matrix)))

    def shape_of(fun, size):
        return jax.eval_shape(partial(saddle.classify, fun), jnp.zeros(size)).eigenvalues.shape

    assert shape_of(lambda x: jnp.sum(x**2), 1500) == (1500,)
    assert shape_of(costly, 1500) == (4,)
    assert shape_of(costly, 20) == (20,)


@pytest.fixture
def beside():
    """Return a network's loss and a point that is not stationary: 18 eigenvalues below -1e-3."""
    inputs = jax.random.normal(jax.random.key(0), (20, 3))
    outputs = inputs[:, :1] * inputs[:, 1:2]
    point = {
        "a": jax.random.normal(jax.random.key(1), (3, 10)),
        "b": jax.random.normal(jax.random.key(2), (10, 1)) / 10**0.5,
    }
    return lambda p: jnp.mean((jnp.tanh(inputs @ p["a"]) @ p["b"] - outputs) ** 2), point


def test_the_index_is_that_of_the_hessian_at_the_point_by_either_method(beside):
    dense = saddle.classify(*beside)
    lanczos = saddle.classify(*beside, method="lanczos", num_eigenvalues=20)
    assert dense.kind == lanczos.kind == Kind.NOT_STATIONARY
    assert dense.index == lanczos.index == jnp.sum(dense.eigenvalues < -1e-3) == 18
    np.testing.assert_allclose(dense.eigenvalue_tolerance, lanczos.eigenvalue_tolerance, rtol=1e-3)
    # The doubt is about the kind alone: no sign here is that of a stationary point nearby.
    assert dense.kind_tolerance > dense.eigenvalues[-1] / 2 > dense.eigenvalue_tolerance


def test_doubt_leaves_the_kind_open_and_the_index_as_it_is():
    def fun(x):
        return x[0] ** 2 + x[1] ** 3

    point = saddle.classify(fun, jnp.array([0.0, -0.01]), gradient_tolerance=1e-3)
    assert (point.kind, point.index, point.nullity) == (Kind.DEGENERATE, 1, 0)
    assert point.kantorovich > 1 / 4
    assert point.kind_tolerance > 0.05 > point.eigenvalue_tolerance


def valleys(weights, x):
    """Vary in two directions of many; the others curve all to one side."""
    square, cube, fourth, cubes, others = weights
    rest = x[1] ** 2 + jnp.linspace(0.5, 2.0, x.size - 2) @ x[2:] ** 2 / 2
    along = square * x[0] ** 2 + cube * x[0] ** 3 + fourth * x[0] ** 4
    return along + cubes * jnp.sum(x[2:] ** 3) + others * rest


@pytest.mark.parametrize("size", [110, 130])
def test_either_method_gives_the_kind_beside_a_stationary_point(monkeypatch, size):
    # The limit is 2,000 parameters, and the rule the same at a cheaper one.
    monkeypatch.setattr(_stationary, "_DENSE", 120)
    # The weights are data, so that one program serves all kinds.
    kinds = {
        (-1, 0, 1, 0, 1): Kind.STRICT_SADDLE,
        (1, 1 / 9, 0, 0, 1): Kind.MINIMUM,
        # With a third derivative in many directions, of which few probes tell the size.
        (0, 1, 0, 1 / 2, 1): Kind.DEGENERATE,
        (0, 0, 1, 1 / 2, 1): Kind.DEGENERATE,
        (-1, 1 / 99, 0, 1 / 99, -1): Kind.MAXIMUM,
    }
    x = jnp.zeros(size).at[:3].set([-0.05, 0.002, 0.001])
    for weights, kind in kinds.items():
        fun = partial(valleys, jnp.array(weights, x.dtype))
        points = {
            method: saddle.classify(fun, x, gradient_tolerance=0.3, method=method)
            for method in ("auto", "dense", "lanczos")
        }
        assert {point.name for point in points.values()} == {kind.name}
        assert len(points["auto"].eigenvalues) == (110 if size == 110 else 4)
        dense, lanczos = points["dense"], points["lanczos"]
        assert dense.index >= (weights[0] < 0 or weights[1] == 1)
        np.testing.assert_allclose(dense.hessian_lipschitz, lanczos.hessian_lipschitz, rtol=1e-5)
        assert (dense.kind_tolerance > dense.eigenvalue_tolerance) == (kind == Kind.DEGENERATE)
        assert (lanczos.kind_tolerance > lanczos.eigenvalue_tolerance) == (kind == Kind.DEGENERATE)
        if kind == Kind.DEGENERATE:
            np.testing.assert_allclose(dense.kantorovich, lanczos.kantorovich, rtol=1e-3)


@jax.custom_vjp
def ruled(x):
    """Return a quadratic with curvatures -2, 2, ...: no forward mode, as its rule calls it."""
    return jnp.sum(x**2) - 2 * x[0] ** 2


ruled.defvjp(lambda x: (ruled(x), x), lambda x, g: (g * (2 * x).at[0].add(-4 * x[0]),))


def test_rules_without_forward_mode_are_differentiated_backward_twice():
    x = jnp.zeros(4)
    for method in ("dense", "lanczos"):
        point = saddle.classify(ruled, x, method=method)
        assert (point.kind, point.index) == (Kind.STRICT_SADDLE, 1)
        np.testing.assert_allclose(point.eigenvalues, [-2, 2, 2, 2], rtol=1e-5)
    assert jnp.isnan(saddle.classify(ruled, x).hessian_lipschitz)
    np.testing.assert_allclose(saddle.min_eigenvalue(ruled, x), -2, rtol=1e-6)
    np.testing.assert_array_equal(saddle.hvp(ruled, x, x + 1), [-2, 2, 2, 2])
    with pytest.raises(TypeError, match="order must be 2 for this fun: order 4 differentiates"):
        saddle.classify(ruled, x, order=4)


def test_rules_that_no_mode_differentiates_are_refused_in_one_sentence():
    @jax.custom_vjp
    def inner(x):
        return x

    def refuse(_, g):
        raise NotImplementedError

    inner.defvjp(lambda x: (x, None), refuse)

    @jax.custom_vjp
    def outer(x):
        return jnp.sum(x**2)

    outer.defvjp(lambda x: (outer(x), x), lambda x, g: (g * inner(2 * x),))
    with pytest.raises(TypeError, match=r"no second derivative .* neither forward nor backward"):
        saddle.classify(outer, jnp.ones(2))


@pytest.mark.usefixtures("x64")
def test_matrix_free_classification_brackets_the_smallest_eigenvalue():
    spectrum = jnp.concatenate([jnp.array([-1.0, -0.5]), jnp.linspace(3, 10, 198)])

    def classify(shift):
        return saddle.classify(
            lambda x: jnp.sum((spectrum + shift) * x**2) / 2,
            jnp.zeros(200),
            method="lanczos",
            num_eigenvalues=2,
        )

    shifts = jnp.array([0.0, 2.0, 1.0, -20.0])
    points = jax.jit(jax.vmap(classify))(shifts)
    assert points.kind.tolist() == [
        Kind.STRICT_SADDLE,
        Kind.MINIMUM,
        Kind.DEGENERATE,
        Kind.MAXIMUM,
    ]
    # Of the two that are computed: the last has 200.
    assert points.index.tolist() == [2, 0, 0, 2]
    assert points.nullity.tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(points.min_eigenvalue, shifts - 1, atol=1e-7)
    assert jnp.all(points.min_eigenvalue_bound <= shifts - 1 + 1e-12)
    assert jnp.all(points.min_eigenvalue_bound > shifts - 1.5)
    assert jnp.all(points.min_eigenvalue_error < 1e-6)
    assert jnp.all(points.failure_probability == 1e-3)


def test_the_dense_certificate_is_a_rounding_error():
    point = saddle.classify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2))
    assert -2 - 1e-5 < point.min_eigenvalue_bound < -2
    assert 0 < point.min_eigenvalue_error < 1e-5
    assert point.failure_probability == 0


def test_a_hessian_that_is_not_finite_is_reported():
    point = saddle.classify(lambda x: jnp.sum(jnp.abs(x) ** 1.5), jnp.zeros(2))
    assert not point.finite
    assert point.kind in (Kind.NOT_STATIONARY, Kind.DEGENERATE)
    assert saddle.classify(jnp.sum, jnp.zeros(2)).finite


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": 3}, ValueError, "order must be one of 2, 4; got 3"),
        ({"method": "qr"}, ValueError, "method must be one of 'auto', 'dense', 'lanczos'"),
        ({"order": 4, "method": "lanczos"}, ValueError, 'method must be "dense" for order=4'),
        ({"key": 0}, TypeError, "key must be a typed key"),
        ({"num_starts": 0}, ValueError, "num_starts must be positive, got 0"),
        ({"null_space": np.ones(2)}, ValueError, "null_space must be tangent vectors"),
        ({"null_space": (np.ones((1, 2)),)}, ValueError, "null_space must be tangent vectors"),
    ],
    ids=range(7),
)
def test_bad_options_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        saddle.classify(jnp.sum, jnp.ones(2), **arguments)


def test_symmetries_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="factor must be a matrix of 2 columns or more"):
        saddle.rotation_null_space(jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="weights must be two matrices or more, got 1"):
        saddle.change_of_basis_null_space((jnp.eye(2),))
    with pytest.raises(ValueError, match="outgoing must have 2 columns"):
        saddle.rescaling_null_space(jnp.ones((2, 3)), jnp.ones(3))


@pytest.mark.parametrize(
    ("fun", "size", "gradient_agrees"),
    [
        (lambda x: jnp.sum(jnp.abs(x)) + x @ x, 2, False),
        (lambda x: jnp.sum(jnp.clip(x, 0, 1) ** 2) + x @ x, 2, True),
        (lambda x: jnp.linalg.det(x.reshape(4, 4) + jnp.diag(jnp.array([1, 1, 0, 0]))), 16, True),
        (lambda x: jnp.linalg.norm(x) ** 2, 2, False),
        (lambda x: jnp.linalg.eigvalsh(jnp.diag(1 + x))[-1], 2, False),
        (lambda x: jnp.sum(jax.nn.soft_sign(x)), 2, True),
    ],
    ids=["abs", "clip", "det", "norm", "eigenvalue", "soft_sign"],
)
def test_checks_mark_points_where_autodiff_is_not_the_derivative(fun, size, gradient_agrees):
    point = saddle.classify(fun, jnp.zeros(size), check=True)
    assert not point.check.hessian_agrees
    assert point.check.gradient_agrees == gradient_agrees
    assert "parts from differences" in str(point)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_checks_pass_where_a_function_is_smooth(beside, dtype):
    loss, point = beside
    point = jax.tree.map(lambda leaf: leaf.astype(dtype), point)
    for method in ("dense", "lanczos"):
        check = saddle.classify(loss, point, method=method, check=True).check
        assert check.gradient_agrees
        assert check.hessian_agrees
        assert jax.tree.map(jnp.shape, check.where) == jax.tree.map(jnp.shape, point)


def test_a_point_is_printed_in_words():
    def fun(x):
        return x[0] ** 2 + x[1] ** 3 - x[1]

    points = jnp.array([[0.0, -(3**-0.5)], [0.0, 3**-0.5], [1.0, 0.0]])
    one = saddle.classify(fun, points[0])
    assert one.name == "STRICT_SADDLE"
    assert str(one).startswith("strict saddle, index 1, nullity 0\n  gradient norm")
    assert "smallest eigenvalue  -3.4641" in str(one)
    assert "strict saddle, index 1" in one._repr_html_()
    batch = jax.vmap(partial(saddle.classify, fun))(points)
    assert batch.name == ["STRICT_SADDLE", "MINIMUM", "NOT_STATIONARY"]
    assert str(batch).startswith(
        "3 points: 1 not stationary, 1 minimum, 1 strict saddle\n  0:  strict"
    )
    # A tracer has no words, and printing it is no error.
    jax.eval_shape(lambda x: len(str(saddle.classify(fun, x))), points[0])


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_a_null_space_of_no_directions_is_none(method):
    def fun(x):
        return x[0] ** 2 - x[1] ** 2

    nothing = jnp.zeros((0, 2))
    point = saddle.classify(fun, jnp.zeros(2), method=method, null_space=nothing)
    assert point.kind == saddle.Kind.STRICT_SADDLE
    assert not point.null_space_used
    assert point.null_space_residual == 0

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course import observables, saddle, transforms

KEY = jax.random.key(0)


def fun(tree):
    return (3 * tree["a"] ** 2 + jnp.sum(tree["b"] ** 2)) / 2


PARAMS = {"a": jnp.float32(1.0), "b": jnp.array([2.0, 0.0])}


def test_the_distance_is_that_of_all_leaves_together():
    origin = {"a": jnp.float32(1.0), "b": jnp.array([-1.0, 4.0])}
    assert observables.distance(origin)(PARAMS, None, fun) == 5.0


def test_the_alignment_is_the_share_of_the_gradient_along_the_top_eigenvector():
    found = observables.alignment(k=1, key=KEY)(PARAMS, None, fun)
    np.testing.assert_allclose(found, 9 / 13, rtol=1e-4)  # the gradient is (3, 2, 0)
    still = jax.tree.map(jnp.zeros_like, PARAMS)
    assert observables.alignment(k=1, key=KEY)(still, None, fun) == 0


def test_the_effective_step_of_sign_descent_is_one_over_the_gradient():
    rule = optax.sign_sgd(0.3)
    found = observables.effective_step(rule, key=KEY)(PARAMS, rule.init(PARAMS), fun)
    np.testing.assert_allclose(found, 0.1, rtol=1e-3)
    still = jax.tree.map(jnp.zeros_like, PARAMS)
    assert jnp.isnan(observables.effective_step(rule, key=KEY)(still, rule.init(still), fun))


def test_the_rank_of_features_is_between_one_and_all():
    rank = observables.feature_rank(lambda params: params)
    one = jnp.outer(jnp.arange(1.0, 5.0), jnp.array([1.0, -2.0]))
    np.testing.assert_allclose(rank(one, None, None), 1, rtol=1e-5)
    np.testing.assert_allclose(rank(jnp.eye(4)[:, :3], None, None), 3, rtol=1e-5)
    assert rank(jnp.zeros((3, 2)), None, None) == 0


def test_observables_of_one_end_share_its_search_and_see_what_each_sees_alone(monkeypatch):
    matrix = jnp.diag(jnp.arange(1.0, 9.0))

    def fun(x):
        return x @ matrix @ x / 2 + jnp.sum(x**4)

    rule, start, key = optax.sgd(0.01), jnp.linspace(0.5, 1.0, 8), jax.random.key(3)
    observe = {
        "sharpness": observables.sharpness(),
        "step": observables.effective_step(rule),
        "alignment": observables.alignment(k=1),
        "lowest": observables.min_eigenvalue(),
        "two": observables.alignment(k=2),
        "other key": observables.sharpness(key=key),
    }
    searches = []
    plain = saddle.extreme_eigenpairs
    monkeypatch.setattr(
        saddle, "extreme_eigenpairs", lambda *a, **k: searches.append(1) or plain(*a, **k)
    )

    def path(observe):
        return jax.jit(lambda x: transforms.path(fun, rule, x, 6, every=3, observe=observe))(start)

    together = path(observe).observed
    # Each search is traced as often as one observable alone traces its own.
    traced = len(searches)
    searches.clear()
    alone = {name: path({name: one}).observed[name] for name, one in observe.items()}
    assert len(searches) * 4 == traced * len(observe)
    jax.tree.map(np.testing.assert_array_equal, together, alone)

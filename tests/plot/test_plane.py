import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import plot, problems, saddle


def test_level_lines_fill_the_window():
    problem = problems.himmelblau()
    ax = plot.surface(problem.fun, problem.bounds, num_points=21, levels=5)
    assert (ax.get_xlim(), ax.get_ylim()) == problem.bounds
    assert len(ax.collections) == 1


def test_every_point_of_a_census_has_the_marker_of_its_kind():
    def fun(x):
        return (x[0] ** 2 - 1) ** 2 + x[1] ** 2  # minima at (-1, 0) and (1, 0), saddle at 0

    census = saddle.find(fun, jnp.array([[1.2, 0.3], [-1.2, 0.3], [0.1, 0.2]]))
    ax = plot.census(census)
    drawn = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert set(drawn) == {"minimum (2)", "strict saddle (1)"}
    np.testing.assert_allclose(np.sort(drawn["minimum (2)"][:, 0]), [-1, 1], atol=1e-4)
    np.testing.assert_allclose(drawn["strict saddle (1)"], [[0, 0]], atol=1e-4)


def test_several_paths_have_one_colour_and_one_label():
    ax = plot.path(jnp.arange(12.0).reshape(2, 3, 2), label="sgd")
    assert len({line.get_color() for line in ax.lines}) == 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["sgd"]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize("shape", [(2,), (3, 3), (2, 2, 2, 2)])
def test_positions_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="positions must"):
        plot.path(jnp.zeros(shape))


def test_bounds_that_are_no_window_are_refused():
    with pytest.raises(ValueError, match="bounds must be"):
        plot.surface(lambda x: x[0], ((1.0, 0.0), (0.0, 1.0)))


def test_a_surface_without_a_finite_value_is_refused():
    with pytest.raises(ValueError, match="no finite value"):
        plot.surface(lambda x: jnp.inf * x[0], ((1.0, 2.0), (0.0, 1.0)), num_points=3)

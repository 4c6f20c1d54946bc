import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import landscape, plot, problems, saddle


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


def test_a_path_looks_as_matplotlib_is_told_by_any_of_its_names():
    drawn, start = plot.path(jnp.zeros((3, 2)), lw=3, color="red", ms=2, marker="s").lines
    assert (drawn.get_linewidth(), drawn.get_color(), drawn.get_marker()) == (3, "red", "s")
    assert start.get_color() == "red"


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


def test_a_plane_is_drawn_in_its_window_with_the_values_on_its_lines():
    seen = landscape.plane(
        lambda x: 10.0 ** (x[0] + x[1]), jnp.zeros(2), jnp.eye(2),
        rows=jnp.linspace(0.0, 2.0, 5), columns=jnp.linspace(-1.0, 0.0, 4),
    )  # fmt: skip
    ax = plot.plane(seen, levels=4)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 2), (-1, 0))
    # On the axes x is the first direction: the lines of an exponential have slope -1 in it.
    labels = {float(text.get_text()) for text in ax.texts}
    assert labels
    assert all(np.isclose(10 ** np.round(np.log10(value), 1), value, rtol=0.02) for value in labels)
    (lines,) = ax.collections
    paths = [path.vertices for path in lines.get_paths() if len(path.vertices)]
    assert all(np.ptp(vertices.sum(axis=1)) < 1e-6 for vertices in paths)


def test_a_filled_plane_has_a_bar_that_says_what_its_colours_are():
    seen = landscape.Plane(jnp.arange(3.0), jnp.arange(2.0), 10.0 ** jnp.arange(6.0).reshape(3, 2))
    ax = plot.plane(seen, filled=True)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 2), (0, 1))
    assert (ax.collections[0].zmin, ax.collections[0].zmax) == (0, 5)
    assert ax.figure.axes[1].get_ylabel() == "log10 of the value"


def test_a_plane_with_values_below_zero_and_with_holes_is_drawn():
    seen = landscape.Plane(
        jnp.arange(2.0), jnp.arange(3.0), jnp.array([[-1.0, 2, 3], [jnp.inf, 1, 2]])
    )
    assert plot.plane(seen).collections
    with pytest.raises(ValueError, match="found must hold a finite value"):
        plot.plane(seen._replace(value=jnp.full((2, 3), jnp.nan)))
    with pytest.raises(ValueError, match="found must be one plane"):
        plot.plane(seen._replace(value=jnp.ones((4, 2, 3))))


def test_lines_that_were_mapped_over_have_one_colour_and_one_label():
    steps = jnp.broadcast_to(jnp.arange(3.0), (2, 3))
    ax = plot.line(landscape.Line(steps, jnp.arange(6.0).reshape(2, 3)), label="matched")
    assert len({line.get_color() for line in ax.lines}) == 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["matched"]
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[0, 3], [1, 4], [2, 5]])


def test_hollow_points_have_the_colour_of_their_kind_at_the_edge():
    kinds = [saddle.Kind.MINIMUM, saddle.Kind.MINIMUM, saddle.Kind.MAXIMUM]
    ax = plot.points(np.eye(3)[:, :2], kinds, hollow=[True, False, False])
    filled, hollow, other = ax.lines
    assert hollow.get_markerfacecolor() == "white"
    assert hollow.get_markeredgecolor() == filled.get_markerfacecolor()
    assert other.get_markerfacecolor() != filled.get_markerfacecolor()
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["minimum (2)", "maximum (1)"]


def test_arrows_go_to_both_sides_of_points_with_a_direction():
    directions = np.array([[0.0, 3.0], [np.nan, np.nan]])
    kinds = [saddle.Kind.STRICT_SADDLE, saddle.Kind.MINIMUM]
    ax = plot.points([[0.0, 0.0], [1.0, 1.0]], kinds, directions=directions)
    ends = sorted(text.xy[1] for text in ax.texts)
    assert len(ends) == 2
    assert ends[0] == -ends[1] < 0


def test_points_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="kinds must be of"):
        plot.points([[0.0, 0.0]], [7])
    with pytest.raises(ValueError, match=r"positions must have shape \(points, 2\)"):
        plot.points([[0.0, 0.0]], [1, 1])
    with pytest.raises(ValueError, match="hollow must be booleans"):
        plot.points([[0.0, 0.0]], [1], hollow=[1])
    with pytest.raises(ValueError, match="directions must have shape"):
        plot.points([[0.0, 0.0]], [1], directions=[1.0, 0.0])

"""Functions of two variables with many stationary points, all of them known.

For searches such as `saddle.find` to find. Their positions were computed by Newton's method in 40
digits and are given here to the last digit of double precision. Parameters are arrays `(x, y)` of
shape (2,); starts are uniform in the window `bounds`.
"""

import jax.numpy as jnp
import numpy as np

from jaxopt_course.problems._problem import Kind, Problem
from jaxopt_course.problems._surface import surface


def himmelblau() -> Problem:
    """The function `(x**2 + y - 11)**2 + (x + y**2 - 7)**2`, with nine stationary points.

    Four minima with value 0, four strict saddles, one maximum: all there are, as many as two cubic
    equations allow. Himmelblau (1972), Applied Nonlinear Programming.

    Example:
        >>> [point.index for point in himmelblau().stationary_points]
        [0, 0, 0, 0, 1, 1, 1, 1, 2]
    """
    return surface(
        "himmelblau",
        lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
        lambda x, y: (12 * x**2 + 4 * y - 42, 4 * (x + y), 12 * y**2 + 4 * x - 26),
        [
            (3.0, 2.0, "MINIMUM", 0.0),
            (3.5844283403304917449, -1.8481265269644035535, "MINIMUM", 0.0),
            (-2.8051180869527448531, 3.1313125182505729658, "MINIMUM", 0.0),
            (-3.7793102533777468919, -3.2831859912861694123, "MINIMUM", 0.0),
            (
                3.385154183607020938,
                0.073851879837749287719,
                "STRICT_SADDLE",
                13.311926270405589889,
            ),
            (
                0.086677504555396351823,
                2.8842547011747761131,
                "STRICT_SADDLE",
                67.719150087526140226,
            ),
            (
                -3.0730257507643896105,
                -0.081353044287967511553,
                "STRICT_SADDLE",
                104.01516291755810586,
            ),
            (
                -0.12796134673068006631,
                -1.9537149802445764261,
                "STRICT_SADDLE",
                178.33723920192745998,
            ),
            (-0.27084459066734761304, -0.92303855647998146313, "MAXIMUM", 181.61652152258270404),
        ],
        minimum_value=0.0,
        bounds=((-5, 5), (-5, 5)),
    )


def six_hump_camel() -> Problem:
    """The function `(4 - 2.1 x**2 + x**4 / 3) x**2 + x y + (4 y**2 - 4) y**2`.

    Six minima, seven strict saddles and two maxima, in pairs under (x, y) -> (-x, -y): all there
    are. Dixon and Szego (1978), Towards Global Optimisation 2.

    Example:
        >>> len(six_hump_camel().stationary_points)
        15
    """
    half: list[tuple[float, float, Kind, float]] = [
        (0.089842013100318062422, -0.7126564030207396334, "MINIMUM", -1.0316284534898773504),
        (1.7036067149699808488, -0.79608356867262511903, "MINIMUM", -0.21546382438371763758),
        (1.6071047529201972298, 0.56865145488413137139, "MINIMUM", 2.1042503103112582746),
        (1.1092053368047864474, -0.76826809250953984178, "STRICT_SADDLE", 0.54371860097818513539),
        (1.6380679841897785638, 0.22867406904439406995, "STRICT_SADDLE", 2.2293571975307147209),
        (1.2960702671671091833, 0.60508438803865849681, "STRICT_SADDLE", 2.2294708180298599234),
        (1.2302298765166526266, 0.16233458445899497001, "MAXIMUM", 2.4962953510235769337),
    ]
    return surface(
        "six-hump-camel",
        lambda x, y: x * x * (4 + x * x * (x * x / 3 - 2.1)) + x * y + 4 * y * y * (y * y - 1),
        lambda x, y: (8 - 25.2 * x**2 + 10 * x**4, 1, 48 * y**2 - 8),
        [
            *half,
            *((-x, -y, kind, value) for x, y, kind, value in half),
            (0.0, 0.0, "STRICT_SADDLE", 0.0),
        ],
        minimum_value=-1.0316284534898773504,
        bounds=((-2, 2), (-1.2, 1.2)),
    )


def mueller_brown() -> Problem:
    """The potential of Mueller and Brown, on which chemists test saddle searches.

        f = sum_k A_k exp(a_k (x - x_k)**2 + b_k (x - x_k) (y - y_k) + c_k (y - y_k)**2)

    Three minima and the two strict saddles between them; f has no others in the window. Mueller
    and Brown (1979), https://doi.org/10.1007/BF00547608.

    Example:
        >>> [point.index for point in mueller_brown().stationary_points]
        [0, 0, 0, 1, 1]
    """
    # Four exponentials of quadratic forms, with the published constants.
    heights = np.array([-200.0, -100.0, -170.0, 15.0])
    xx, xy, yy = np.array([[-1, -1, -6.5, 0.7], [0, 0, 11, 0.6], [-10, -10, -6.5, 0.7]])
    centers_x, centers_y = np.array([[1, 0, -0.5, -1], [0, 0.5, 1.5, 1]])

    def fun(x, y):
        dtype = jnp.result_type(x)

        def cast(constants):
            return jnp.asarray(constants, dtype)

        dx, dy = x - cast(centers_x), y - cast(centers_y)
        exponents = cast(xx) * dx * dx + cast(xy) * dx * dy + cast(yy) * dy * dy
        return jnp.sum(cast(heights) * jnp.exp(exponents))

    def hessian(x, y):
        dx, dy = x - centers_x, y - centers_y
        terms = heights * np.exp(xx * dx**2 + xy * dx * dy + yy * dy**2)
        slope_x, slope_y = 2 * xx * dx + xy * dy, xy * dx + 2 * yy * dy
        return (
            float(np.sum(terms * (slope_x**2 + 2 * xx))),
            float(np.sum(terms * (slope_x * slope_y + xy))),
            float(np.sum(terms * (slope_y**2 + 2 * yy))),
        )

    # The stationary points have no closed form; how they were found the module says.
    return surface(
        "mueller-brown",
        fun,
        hessian,
        [
            (-0.55822363463302427747, 1.4417258418046686551, "MINIMUM", -146.6995172099540137),
            (0.62349940493087650977, 0.028037758528685665749, "MINIMUM", -108.16672411685235499),
            (-0.050010822998206057751, 0.46669410487197208777, "MINIMUM", -80.767818129659028156),
            (
                0.21248658200066200686,
                0.29298832510736776515,
                "STRICT_SADDLE",
                -72.24894011232521151,
            ),
            (
                -0.82200155873273209741,
                0.62431280281487136129,
                "STRICT_SADDLE",
                -40.664843508657404291,
            ),
        ],
        minimum_value=-146.6995172099540137,
        bounds=((-1.5, 1.2), (-0.2, 2)),
    )

"""What Safran and Shamir (2018) found, as their published end points say.

Per k teachers and k + extra students, of 1,000 runs: how many ended at a minimum that is not
global, the means over those of the smallest eigenvalue of the Hessian and of the value, and the
values of the families of minima that at least 10 runs reached. The counts are the sizes of the
families in https://github.com/ItaySafran/OneLayerGDconvergence, folder Results (for k = n = 6 to 11
they are the percentages of the paper's table); eigenvalues and values are ours, evaluated at the
points stored there. With one student more, two of the points, for k = 15 and 17, are strict
saddles. No file means that no run failed; the folder ends at 20 students, beyond which nothing is
available here. https://arxiv.org/abs/1712.08968.
"""

import math
from typing import NamedTuple

RUNS = 1000


class Row(NamedTuple):
    """One architecture: runs that failed, means over them (NaN if none), the larger families."""

    bad: int
    min_eigenvalue: float = math.nan
    value: float = math.nan
    families: tuple[float, ...] = ()


PUBLISHED = {
    (6, 0): Row(3, 0.00470, 0.02508),
    (7, 0): Row(55, 0.01406, 0.02320, (0.023203,)),
    (8, 0): Row(126, 0.02135, 0.02151, (0.021508,)),
    (9, 0): Row(218, 0.02679, 0.02041, (0.020014,)),
    (10, 0): Row(346, 0.03039, 0.02034, (0.018702, 0.035327)),
    (11, 0): Row(455, 0.03355, 0.02009, (0.017547, 0.033348)),
    (12, 0): Row(585, 0.03505, 0.02128, (0.016524, 0.031551, 0.045458)),
    (13, 0): Row(730, 0.03684, 0.02168, (0.015613, 0.029924, 0.043289, 0.060712)),
    (14, 0): Row(736, 0.03753, 0.02312, (0.014798, 0.028449, 0.041286)),
    (15, 0): Row(803, 0.03811, 0.02438, (0.014064, 0.027107, 0.03944, 0.051121, 0.054034)),
    (16, 0): Row(851, 0.03780, 0.02671, (0.0134, 0.025885, 0.037741, 0.049032)),
    (17, 0): Row(
        897,
        0.03855,
        0.02749,
        (0.012796, 0.024766, 0.036175, 0.047087, 0.057513, 0.060243, 0.070323),
    ),
    (18, 0): Row(900, 0.03868, 0.02883, (0.012245, 0.02374, 0.034729, 0.045276, 0.0554, 0.060156)),
    (19, 0): Row(
        934, 0.03828, 0.03068, (0.01174, 0.022795, 0.033392, 0.043591, 0.053416, 0.060054, 0.065417)
    ),
    (20, 0): Row(
        949,
        0.03792,
        0.03290,
        (0.011276, 0.021923, 0.032152, 0.042022, 0.051556, 0.060759, 0.065322, 0.069919),
    ),
    (6, 1): Row(0),
    (7, 1): Row(0),
    (8, 1): Row(1, 0.00594, 0.02056),
    (9, 1): Row(0),
    (10, 1): Row(1, 0.00567, 0.01789),
    (11, 1): Row(1, 0.00557, 0.01678),
    (12, 1): Row(3, 0.00549, 0.01580),
    (13, 1): Row(15, 0.00152, 0.03844),
    (14, 1): Row(55, 0.00207, 0.03277, (0.028314, 0.035133)),
    (15, 1): Row(102, 0.00391, 0.03207, (0.027503, 0.034179, 0.040433)),
    (16, 1): Row(180, 0.00551, 0.03065, (0.026724, 0.033253, 0.039388)),
    (17, 1): Row(233, 0.00623, 0.02976, (0.019157, 0.025978, 0.03236, 0.038375, 0.044069)),
    (18, 1): Row(
        369, 0.00642, 0.02757, (0.018623, 0.025267, 0.031502, 0.037396, 0.042989, 0.048315)
    ),
    (19, 1): Row(
        491, 0.00771, 0.02747, (0.018118, 0.024591, 0.030681, 0.036454, 0.041946, 0.047184)
    ),
}
"""By k and extra students."""


def published(k: int, extra: int) -> Row | None:
    """Return a row, without failures for two extra students; None where nothing is available."""
    return Row(0) if extra == 2 and 6 <= k <= 18 else PUBLISHED.get((k, extra))

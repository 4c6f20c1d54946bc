"""The kinds of points there are."""

import enum


class Kind(enum.IntEnum):
    """What a point is; the values are what `StationaryPoint.kind` holds as int32."""

    NOT_STATIONARY = 0
    MINIMUM = 1
    MAXIMUM = 2
    STRICT_SADDLE = 3
    NON_STRICT_SADDLE = 4
    DEGENERATE = 5

"""Why a run ended."""

import enum


class Stop(enum.IntEnum):
    """Why a run ended; the values are what `EscapeRuns.reason` holds as int32."""

    MAX_STEPS = 0
    TARGET_VALUE = 1
    SECOND_ORDER_STATIONARY = 2
    DIVERGED = 3

"""Why a run ended."""

import enum


class Stop(enum.IntEnum):
    """Why a run ended; the values are what `EscapeRuns.reason` holds as int32."""

    MAX_STEPS = 0
    """It took `max_steps` steps, and none of the others came first."""
    TARGET_VALUE = 1
    """Its value was at most `target_value`."""
    SECOND_ORDER_STATIONARY = 2
    """Its gradient norm was at most `epsilon`, and no eigenvalue of its Hessian below
    `-sqrt(hessian_lipschitz * epsilon)`."""
    DIVERGED = 3
    """Its gradient norm, or its value, stopped being finite."""

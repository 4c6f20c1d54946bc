"""Why a claim does not hold, where it does not and somebody has looked.

A reason is known ("measured: ..."), or it is a difference from the source that was not tried
("differs: ..."), or it is not known, and then it says so. Patterns are those of `fnmatch`, tried
anywhere in a claim's statement.
"""

import tomllib
from pathlib import Path

from .claims import Claim

REASONS: dict[str, tuple[tuple[str, str], ...]] = {
    experiment: tuple((pattern, reason) for pattern, reason in rows)
    for experiment, rows in tomllib.loads(
        Path(__file__).with_name("reasons.toml").read_text(encoding="utf-8")
    ).items()
}
"""Pairs of pattern and reason, by experiment, of `reasons.toml`."""


def why(experiment: str, claim: Claim) -> str:
    """Return why a claim of an experiment does not hold; empty if it does, or nobody has looked.

    Example:
        >>> failed = Claim("tanh needs more epochs than ReLU", "lecture", "1", "0.8", holds=False)
        >>> why("activations", failed).partition(":")[0]
        'differs'
        >>> why("activations", Claim("tanh needs more epochs than ReLU", "", "", "2", holds=True))
        ''
    """
    if claim.holds is not False:
        return ""
    for pattern, reason in REASONS.get(experiment, ()):
        if claim.matches(pattern):
            return reason
    return ""

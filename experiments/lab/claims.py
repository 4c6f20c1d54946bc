"""What an experiment says, and whether the numbers agree."""

import dataclasses
import fnmatch
import re
from typing import Any


@dataclasses.dataclass(frozen=True)
class Claim:
    """One statement with what was expected, what was measured and the verdict.

    Attributes:
        statement: A sentence that can be true or false.
        source: Where the expectation comes from: paper and theorem, or "derived".
        expected: The expectation as a reader should see it, with its tolerance.
        measured: The measurement as a reader should see it, with its uncertainty and number of
            runs where it is random.
        holds: Whether the measurement meets the expectation; None where it was not measured, which
            is so if it does not and a number of it is "nan": nothing compares with that. (That so
            many runs "diverged to NaN" is a measurement, and written as here.)
    """

    statement: str
    source: str
    expected: str
    measured: str
    holds: bool | None

    def __post_init__(self) -> None:
        # Verdicts come out of NumPy and xarray comparisons; JSON knows only bool.
        holds = None if self.holds is None else bool(self.holds)
        if not holds and re.search(r"(?<![a-z])nan(?![a-z])", self.measured):
            holds = None
        object.__setattr__(self, "holds", holds)

    def matches(self, pattern: str) -> bool:
        """Return whether a pattern of `fnmatch` is found anywhere in the statement.

        Example:
            >>> Claim("Adam: steps are one rate", "derived", "1", "1", True).matches("Adam*one")
            True
        """
        return fnmatch.fnmatchcase(self.statement, f"*{pattern}*")

    @property
    def verdict(self) -> str:
        """The verdict in words.

        Example:
            >>> Claim("x is 1", "derived", "1", "nan", holds=False).verdict
            'not measured'
        """
        return {True: "holds", False: "does not hold", None: "not measured"}[self.holds]

    def as_dict(self) -> dict[str, Any]:
        """Return the claim as plain values for JSON."""
        return dataclasses.asdict(self)


def within(
    statement: str, source: str, *, expected: float, measured: float, tolerance: float
) -> Claim:
    """Claim that a number lies within a relative tolerance of the predicted one.

    Args:
        statement: A sentence that can be true or false.
        source: Where the prediction comes from.
        expected: Predicted value, not zero.
        measured: Measured value; NaN says that it was not measured.
        tolerance: Largest accepted `|measured - expected| / |expected|`.

    Returns:
        The claim, with the deviation written beside the measurement.

    Example:
        >>> within("g is 9.81", "Galileo", expected=9.81, measured=9.79, tolerance=0.01).measured
        '9.79 (-0.20 %)'
    """
    deviation = (measured - expected) / abs(expected)
    return Claim(
        statement=statement,
        source=source,
        expected=f"{expected:.6g} within {100 * tolerance:.3g} %",
        measured=f"{measured:.6g} ({100 * deviation:+.2f} %)",
        holds=abs(deviation) <= tolerance,
    )


def at_most(statement: str, source: str, *, bound: float, measured: float) -> Claim:
    """Claim that a number does not exceed a bound; NaN says that it was not measured.

    Example:
        >>> at_most("the error is rounding", "derived", bound=1e-12, measured=2e-16).holds
        True
    """
    return Claim(
        statement, source, f"at most {bound:.4g}", f"{measured:.4g}", holds=measured <= bound
    )


def at_least(statement: str, source: str, *, bound: float, measured: float) -> Claim:
    """Claim that a number reaches a bound; NaN says that it was not measured.

    Example:
        >>> at_least("it diverges", "derived", bound=1e6, measured=float("nan")).verdict
        'not measured'
    """
    return Claim(
        statement, source, f"at least {bound:.4g}", f"{measured:.4g}", holds=measured >= bound
    )

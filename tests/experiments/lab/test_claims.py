import math

import numpy as np

from experiments.lab import claims


def test_a_claim_within_a_tolerance_holds_on_both_sides_and_fails_beyond():
    def judge(measured, expected=-2.0):
        return claims.within("s", "t", expected=expected, measured=measured, tolerance=0.01).holds

    assert judge(-2.019)
    assert judge(-1.981)
    assert not judge(-2.021)
    assert not judge(2.0)
    assert not judge(math.nan)


def test_bounds_are_inclusive_and_nan_never_holds():
    assert claims.at_most("s", "t", bound=1.0, measured=1.0).holds
    assert not claims.at_most("s", "t", bound=1.0, measured=1.01).holds
    assert not claims.at_most("s", "t", bound=1.0, measured=math.nan).holds
    assert claims.at_least("s", "t", bound=1.0, measured=1.0).holds
    assert not claims.at_least("s", "t", bound=1.0, measured=0.99).holds
    assert not claims.at_least("s", "t", bound=1.0, measured=math.nan).holds


def test_verdicts_are_plain_booleans():
    claim = claims.Claim("s", "t", "1", "1", np.bool_(True))
    assert claim.holds is True
    assert claims.Claim(**claim.as_dict()) == claim

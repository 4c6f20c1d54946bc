"""Pictures of batches of runs."""

from typing import Any

import numpy as np

from jaxopt_course._checks import check_interval, check_one_of, check_text
from jaxopt_course.plot._axes import axes
from jaxopt_course.saddle import EscapeRuns, Stop

_ARRIVED = (Stop.TARGET_VALUE, Stop.SECOND_ORDER_STATIONARY)
_LABELS = {
    "value": "value",
    "gradient_norm": "norm of the gradient",
    "min_eigenvalue": "smallest eigenvalue of the Hessian",
}


def escape_times(runs: EscapeRuns, *, label: str | None = None, ax: Any = None) -> Any:
    """The share of the runs that have arrived by each step, drawn.

    The empirical distribution of the steps that runs took until their target value or a
    second-order stationary point. Runs that ran out of steps or diverged are part of the number, so
    that the curve ends at the share that arrived, not at 1; the legend says how many.

    Args:
        runs: From `saddle.escape`.
        label: What to call them.
        ax: Axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> sgd, starts = optax.sgd(0.1), jnp.array([1.0, 0.5])
        >>> runs = saddle.escape(lambda x: x**2, sgd, starts, max_steps=99, target_value=1e-3)
        >>> escape_times(runs, label="sgd").get_legend().get_texts()[0].get_text()
        'sgd: 2 of 2'
    """
    _check_runs(runs)
    check_text(label=label, optional=True)
    ax = axes(ax)
    arrived = np.isin(np.asarray(runs.reason), _ARRIVED)
    steps = np.sort(np.asarray(runs.steps)[arrived])
    count, last = arrived.size, max(int(np.max(runs.steps, initial=0)), 1)
    told = f"{steps.size} of {count}"
    # From nobody at the start to the last step of any run, flat where nobody arrives.
    x = np.concatenate([[0], steps, [last]])
    y = np.concatenate([[0], np.arange(1, steps.size + 1), [steps.size]]) / max(count, 1)
    ax.step(x, y, where="post", label=told if label is None else f"{label}: {told}")
    ax.set(xlabel="step", ylabel="share of runs that have arrived", ylim=(0, 1.02))
    ax.legend(title="arrived")
    return ax


def record(
    runs: EscapeRuns,
    what: str = "value",
    *,
    label: str | None = None,
    quantiles: tuple[float, float] = (0.1, 0.9),
    ax: Any = None,
) -> Any:
    """What was recorded along the runs, drawn: the median, and a band of quantiles around it.

    Args:
        runs: From `saddle.escape` with `record_every`.
        what: `"value"`, `"gradient_norm"` or `"min_eigenvalue"`.
        label: What to call the runs.
        quantiles: Lower and upper end of the band, between 0 and 1.
        ax: Axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ValueError: If there is no such record, or the quantiles are not in order.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> sgd, starts = optax.sgd(0.1), jnp.array([1.0, 0.5])
        >>> runs = saddle.escape(lambda x: x**2, sgd, starts, max_steps=20, record_every=5)
        >>> record(runs, "gradient_norm").get_ylabel()
        'norm of the gradient'
    """
    _check_runs(runs)
    check_text(label=label, optional=True)
    check_one_of(tuple(_LABELS), what=what)
    check_interval("quantiles", quantiles, 0, 1)
    if runs.record is None:
        raise ValueError("runs must have a record: give escape record_every=...")
    values = getattr(runs.record, what)
    if values is None:
        raise ValueError(f"runs have no {what} in their record: give escape record_{what}=True")
    lower, upper = quantiles
    ax = axes(ax)
    steps, values = np.asarray(runs.record.step), np.asarray(values)
    low, middle, high = np.nanquantile(values, [lower, 0.5, upper], axis=0)
    (line,) = ax.plot(steps, middle, label=label if label else f"median of {values.shape[0]}")
    band = f"{100 * lower:g} to {100 * upper:g} %"
    ax.fill_between(steps, low, high, color=line.get_color(), alpha=0.25, linewidth=0, label=band)
    ax.set(xlabel="step", ylabel=_LABELS[what])
    ax.legend()
    return ax


def _check_runs(runs: Any) -> None:
    if not isinstance(runs, EscapeRuns):
        raise TypeError(f"runs must be an EscapeRuns, got {type(runs).__name__}")

"""Pictures of a Hessian's spectrum."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_count, check_positive
from jaxopt_course.plot._axes import axes
from jaxopt_course.saddle import Eigenpairs, SpectralDensity


def density(
    spectral_density: SpectralDensity,
    *,
    eigenpairs: Eigenpairs | None = None,
    width: float | None = None,
    num_points: int = 1000,
    ax: Any = None,
) -> Any:
    """A spectral density, drawn with its error and single eigenvalues above it.

    The line is the smoothed density, on a logarithmic scale, since outliers are one in thousands;
    the band is two standard errors over the probes to either side. Eigenvalues are drawn as
    crosses on the axis, each with its residual as error bar: some eigenvalue lies within it.

    Args:
        spectral_density: From `saddle.spectral_density`.
        eigenpairs: From `saddle.extreme_eigenpairs`, for the ends of the spectrum, which a smoothed
            density blurs.
        width: Standard deviation of the smoothing, as in `SpectralDensity.density`.
        num_points: How many points the line has.
        ax: Axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ValueError: If `width` or `num_points` is not positive.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> fun = lambda x: jnp.sum(jnp.arange(1.0, 6.0) * x**2)
        >>> key = jax.random.key(0)
        >>> found = saddle.spectral_density(fun, jnp.zeros(5), num_steps=5, num_probes=4, key=key)
        >>> density(found).get_xlabel()
        'eigenvalue of the Hessian'
    """
    if not isinstance(spectral_density, SpectralDensity):
        raise TypeError(
            f"spectral_density must be a SpectralDensity, got {brief(spectral_density)}"
        )
    if eigenpairs is not None and not isinstance(eigenpairs, Eigenpairs):
        raise TypeError(f"eigenpairs must be an Eigenpairs or None, got {brief(eigenpairs)}")
    check_positive(width=width, optional=True)
    check_count(num_points=num_points)
    ax = axes(ax)

    nodes = np.asarray(spectral_density.nodes)
    margin = 0.05 * (np.ptp(nodes) or 1.0)
    grid = np.linspace(nodes.min() - margin, nodes.max() + margin, num_points)
    estimate = spectral_density.density(jnp.asarray(grid), width)
    mean, error = np.asarray(estimate.value), np.asarray(estimate.standard_error)

    # What is below a millionth of the top is the Gaussians' tails, not the spectrum.
    floor = 1e-6 * mean.max()
    (line,) = ax.semilogy(grid, np.maximum(mean, floor), label="density")
    ax.fill_between(
        grid,
        np.maximum(mean - 2 * error, floor),
        np.maximum(mean + 2 * error, floor),
        color=line.get_color(),
        alpha=0.25,
        linewidth=0,
        label=f"2 standard errors, {nodes.shape[0]} probes",
    )
    # Crosses at twice the lower end of the axis: on it they would be cut in half.
    if eigenpairs is not None:
        eigenvalues = np.asarray(eigenpairs.eigenvalues)
        ax.errorbar(
            eigenvalues,
            np.full(eigenvalues.shape, 2 * floor),
            xerr=np.asarray(eigenpairs.residual_norms),
            fmt="x",
            color="black",
            label="eigenvalues",
        )
    ax.set(xlabel="eigenvalue of the Hessian", ylabel="density", ylim=(floor, None))
    ax.legend()
    return ax

r"""The linear symmetries of an objective, found from its gradients.

With a generator A and a shift b, `f(exp(s A) x + ...) = f(x)` for all s and x if and only if

    <grad f(x), A x + b> = 0    for all x.

This is linear in (A, b): gradients at more random points than there are unknowns leave the
symmetries as the null space of one matrix, which its singular value decomposition gives. A
polynomial that vanishes at so many random points vanishes; of other functions it is evidence.

At a stationary point x the tangents `A x + b` are null vectors of the Hessian. Where it is positive
on all other directions, x is a minimum: its orbit is a manifold of points of the same value, and f
grows away from it (Morse and Bott). Nothing is known of directions along which f happens to be flat
to second order, as `y` in `x**2 + y**4`: these are no symmetry.

Bott (1954), Nondegenerate critical manifolds, https://doi.org/10.2307/1969631; Olver (1993),
Applications of Lie Groups to Differential Equations, section 2.1, for the criterion.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov
from jaxopt_course._checks import (
    check_batch,
    check_key,
    check_not_empty,
    check_real_floating,
)
from jaxopt_course._platforms import spacing
from jaxopt_course._reading import Reading, how_many, readable
from jaxopt_course._streams import stream
from jaxopt_course._tracing import Traced, trace_objective
from jaxopt_course.saddle._dense import unit_vectors

# The decomposition of a matrix of twice as many rows takes a second or two.
_MOST_UNKNOWNS = 1000
# Matrices may act on an axis of at most so many entries, whichever first leaves few enough
# unknowns; longer axes are only scaled, entry by entry.
_LONGEST = (64, 32, 16, 8, 4, 0)
# Terms of the series of the exponential, and how far a value may change along an orbit, in rounding
# errors of the values around.
_TERMS, _ROUNDINGS = 24, 1000

Layout = tuple[tuple[str, int, int], ...]


@readable
@flax.struct.dataclass
class LinearSymmetries:
    """Linear transformations that leave an objective as it is; `symmetries(x)` are its tangents.

    Attributes:
        fun: The objective.
        generators: Shape `(n, unknowns)`, n the number of parameters: random combinations of a
            basis, whose tangents span those of all symmetries; zero if there are none.
        count: Number of independent tangents at a random point, int32.
        residual: Largest singular value, relative to the largest of all, that counts as zero.
        gap: Smallest that does not; infinity if all are zero.
        layout: What the unknowns are: for each of them, in order, on which leaf and axis a matrix
            acts, or that the entries of an axis are scaled, or that a leaf is shifted.
        whole: Whether the parameters are taken as one vector rather than leaf by leaf.
    """

    fun: Traced
    generators: jax.Array
    count: jax.Array
    residual: jax.Array
    gap: jax.Array
    layout: Layout = flax.struct.field(pytree_node=False)
    whole: bool = flax.struct.field(pytree_node=False)

    def _reading(self) -> Reading | None:
        """How many there are, and how clearly they are told apart."""
        if np.ndim(self.count):
            return None
        count = int(self.count)
        rows = [
            ("zero", f"up to {float(self.residual):.2g} of the largest singular value"),
            ("not zero", f"from {float(self.gap):.2g} on"),
            ("more", "called with x: the tangents there, the null_space of classify and find"),
        ]
        found = how_many(count, "independent tangent") if count else "no tangent"
        return Reading(f"linear symmetries: {found} at a random point", rows)

    def __call__(self, x: chex.ArrayTree) -> chex.ArrayTree:
        """Return orthonormal tangents at x, as `null_space` of `saddle.classify` takes them.

        Args:
            x: Parameters.

        Returns:
            A pytree like `x` with a leading axis of length n in each leaf: as many tangents as are
            independent at x, then zeros. All are zero where the objective changes along the orbit
            of x, and those that are too short to tell x from a fixed point.
        """
        vector, unravel = _krylov.ravel(x)
        parts = [vector] if self.whole else jax.tree.leaves(x)
        eps = float(spacing(vector.dtype))
        rows = jax.vmap(lambda one: _flat(_act(self.layout, one, parts, shift=True)))(
            self.generators.astype(vector.dtype)
        )
        _, sizes, basis = jnp.linalg.svd(rows, full_matrices=False)
        basis = jnp.where((sizes > eps**0.25 * (1 + jnp.max(jnp.abs(vector))))[:, None], basis, 0)
        basis = jnp.where(self._keeps_value(parts, vector, unravel), basis, 0)
        return jax.vmap(unravel)(basis)

    def _keeps_value(
        self, parts: list[jax.Array], vector: jax.Array, unravel: Callable[[jax.Array], Any]
    ) -> jax.Array:
        """Whether the value is the same some way along the orbit, beside its change elsewhere."""

        def moved(generator):
            def add(k, state):
                total, term = state
                term = [one / k for one in _act(self.layout, generator, term, shift=False)]
                return [whole + one for whole, one in zip(total, term, strict=True)], term

            step = _act(self.layout, generator, parts, shift=True)
            once = [part + one for part, one in zip(parts, step, strict=True)]
            return _flat(jax.lax.fori_loop(2, _TERMS, add, (once, step))[0])

        value = self.fun(unravel(vector))
        one = self.generators[:2].astype(vector.dtype)
        orbit = jax.vmap(moved)(jnp.concatenate([one, -one]))
        change = jax.vmap(lambda y: self.fun(unravel(y)))(orbit) - value
        # As far away, in other directions.
        far = jnp.max(jnp.linalg.norm(orbit - vector[None], axis=1))
        others = far * jnp.asarray(unit_vectors(4, vector.size), vector.dtype)
        elsewhere = jax.vmap(lambda y: self.fun(unravel(y)))(vector[None] + others)
        around = jnp.max(jnp.abs(elsewhere - value)) + jnp.abs(value)
        allowed = _ROUNDINGS * float(spacing(vector.dtype)) * around
        # Not ">": a change that is NaN is not small.
        return jnp.all(jnp.abs(change) <= allowed)


def linear_symmetries(
    fun: Callable[[Any], jax.Array], points: chex.ArrayTree, *, key: chex.PRNGKey | None = None
) -> LinearSymmetries:
    """The linear symmetries of an objective: rotations, rescalings, changes of basis, shifts.

    All affine generators are looked for up to 31 parameters; beyond, for every leaf, matrices that
    act on one of its axes, scalings of its entries along one, and shifts, as far as they are not
    more than 1,000 unknowns. `saddle.find` does this by itself where points are DEGENERATE.

    Args:
        fun: The objective, from parameters to a scalar.
        points: Parameters of real floating dtype with a leading axis in each leaf; gradients are
            taken around them, as far away as they are from each other.
        key: Typed key for the random points, `jax.random.key(0)` by default.

    Returns:
        `LinearSymmetries`, a function from parameters to tangents: the `null_space` of `classify`.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> fun, x = lambda u: jnp.sum((u @ u.T - jnp.eye(3)) ** 2), jnp.eye(3)
        >>> symmetries = linear_symmetries(fun, x[None])
        >>> int(symmetries.count), classify(fun, x, null_space=symmetries).name
        (6, 'MINIMUM')

        Rotations from the left and from the right.
    """
    check_not_empty("points", points)
    check_real_floating("points", points)
    check_batch("points", points)
    check_key(key=key, optional=True)
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(points))
    points = jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), points)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], wide), points)
    objective = trace_objective("fun", fun, shapes, lambda: jax.tree.map(lambda x: x[0], points))
    return detect(objective, points, jax.random.key(0) if key is None else key)


@jax.jit
@jax.default_matmul_precision("highest")
def detect(fun: Traced, points: chex.ArrayTree, key: jax.Array) -> LinearSymmetries:
    """`linear_symmetries` without the checks, of a traced objective."""
    first = jax.tree.map(lambda leaf: leaf[0], points)
    vector, _ = _krylov.ravel(first)
    size, dtype = vector.size, vector.dtype
    eps = float(spacing(dtype))
    layout, whole = _layout([leaf.shape for leaf in jax.tree.leaves(first)])
    unknowns = sum(_unknowns(layout, [vector] if whole else jax.tree.leaves(first)))

    # Gradients around the points.
    draws = 2 * unknowns
    key = stream(key, "symmetries")
    which, *keys = jax.random.split(key, 1 + len(jax.tree.leaves(points)))
    base = jax.random.randint(which, (draws,), 0, jax.tree.leaves(points)[0].shape[0])

    def around(leaf, key):
        spread = jnp.std(leaf)
        spread = jnp.where(spread > 0, spread, 1)
        return leaf[base] + spread * jax.random.normal(key, (draws, *leaf.shape[1:]), dtype)

    keys = jax.tree.unflatten(jax.tree.structure(points), keys)
    samples = jax.tree.map(around, points, keys)

    def row(x):
        gradient = jax.grad(fun)(x)
        parts, slopes = (
            [_krylov.ravel(tree)[0]] if whole else jax.tree.leaves(tree) for tree in (x, gradient)
        )
        return _unit(_features(layout, slopes, parts))

    matrix = jax.lax.map(row, samples, batch_size=64)

    # Its null space, all unknowns on one scale.
    scale = jnp.sqrt(jnp.mean(jnp.square(matrix), axis=0))
    scale = jnp.where(scale > 0, scale, 1)
    _, sizes, vectors = jnp.linalg.svd(matrix / scale[None], full_matrices=False)
    sizes = sizes / jnp.where(sizes[0] > 0, sizes[0], 1)
    null = sizes <= eps ** (2 / 3)
    basis = jax.vmap(_unit)(jnp.where(null[:, None], vectors / scale[None], 0))
    mix = jax.random.normal(jax.random.fold_in(key, 1), (size, unknowns), dtype)
    generators = jax.vmap(_unit)(mix @ basis)
    found = LinearSymmetries(
        fun=fun,
        generators=generators,
        count=jnp.zeros((), jnp.int32),
        residual=jnp.max(jnp.where(null, sizes, 0), initial=0),
        gap=jnp.min(jnp.where(null, jnp.inf, sizes), initial=jnp.inf),
        layout=layout,
        whole=whole,
    )
    tangents = found(jax.tree.map(lambda leaf: leaf[0], samples))
    lengths = sum(
        jnp.sum(jnp.square(leaf), axis=tuple(range(1, leaf.ndim)))
        for leaf in jax.tree.leaves(tangents)
    )
    return dataclasses.replace(found, count=jnp.sum(lengths > 0.5, dtype=jnp.int32))


def _unit(vector: jax.Array) -> jax.Array:
    """Scale to length 1; what is zero or not finite becomes zero."""
    length = jnp.linalg.norm(vector)
    usable = jnp.isfinite(length) & (length > 0)
    return jnp.where(usable, vector, 0) / jnp.where(usable, length, 1)


def _flat(parts: list[jax.Array]) -> jax.Array:
    return jnp.concatenate([part.ravel() for part in parts])


# The unknowns: matrices that act on an axis of a leaf, scalings of its entries, shifts of leaves.


def _layout(shapes: list[tuple[int, ...]]) -> tuple[Layout, bool]:
    """Return what is looked for, and whether the leaves are taken as one vector."""
    size = sum(math.prod(shape) for shape in shapes)
    if size * (size + 1) <= _MOST_UNKNOWNS:
        return (("matrix", 0, 0), ("shift", 0, 0)), True
    axes = [(i, k, length) for i, shape in enumerate(shapes) for k, length in enumerate(shape)]
    for longest in _LONGEST:
        layout = tuple(("matrix" if s <= longest else "scale", i, k) for i, k, s in axes)
        unknowns = sum(s * s if s <= longest else s for *_, s in axes)
        if unknowns + size <= _MOST_UNKNOWNS:
            shifts = tuple(("shift", i, 0) for i in range(len(shapes)))
            return layout + shifts, False
        if unknowns <= _MOST_UNKNOWNS:
            return layout, False
    return (), False


def _unknowns(layout: Layout, parts: list[jax.Array]) -> list[int]:
    """Return the number of unknowns of each part of the layout."""
    counts = {
        "matrix": lambda part, axis: part.shape[axis] ** 2,
        "scale": lambda part, axis: part.shape[axis],
        "shift": lambda part, _: part.size,
    }
    return [counts[what](parts[i], axis) for what, i, axis in layout]


def _features(layout: Layout, slopes: list[jax.Array], parts: list[jax.Array]) -> jax.Array:
    """Return the coefficients of the unknowns in `<slopes, A x + b>`."""
    rows = []
    for what, i, axis in layout:
        if what == "shift":
            rows.append(slopes[i].ravel())
            continue
        slope, part = (
            jnp.moveaxis(array[i], axis, 0).reshape(array[i].shape[axis], -1)
            for array in (slopes, parts)
        )
        rows.append((slope @ part.T).ravel() if what == "matrix" else jnp.sum(slope * part, axis=1))
    return jnp.concatenate([jnp.zeros(0, parts[0].dtype), *rows])


def _act(
    layout: Layout, generator: jax.Array, parts: list[jax.Array], *, shift: bool
) -> list[jax.Array]:
    """Return `A x + b`, or `A x` without the shift."""
    moved = [jnp.zeros_like(part) for part in parts]
    begin = 0
    for (what, i, axis), count in zip(layout, _unknowns(layout, parts), strict=True):
        numbers, part = generator[begin : begin + count], parts[i]
        begin += count
        if what == "shift":
            moved[i] += numbers.reshape(part.shape) if shift else 0
            continue
        length = part.shape[axis]
        across = jnp.moveaxis(part, axis, 0).reshape(length, -1)
        if what == "matrix":
            image = numbers.reshape(length, length) @ across
        else:
            image = numbers[:, None] * across
        shape = (length, *part.shape[:axis], *part.shape[axis + 1 :])
        moved[i] += jnp.moveaxis(image.reshape(shape), 0, axis)
    return moved

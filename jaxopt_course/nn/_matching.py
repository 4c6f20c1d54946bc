r"""Units of one network in the order of another's: what permutations do to weights, undone.

Permuting the hidden units of a layer, in the axis of its kernel and bias that counts them and in
the next kernel's input axis, leaves the function as it is. Of two networks A and B the order of B's
units that brings its weights nearest to A's maximizes

    sum over leaves of <A, permuted B>  =  const - |A - permuted B|^2 / 2

With the orders of all other layers held, that of one layer is a linear assignment problem: its
matrix C[i, j] is the inner product of everything that belongs to unit i of A with everything that
belongs to unit j of B. Weight matching solves one layer after another until a whole sweep changes
nothing; the sum never decreases. Activation matching takes C[i, j] = <z_i(A), z_j(B)> of the units'
activations on the same inputs instead, for all layers at once.

The assignments are SciPy's (`linear_sum_assignment`), in float64: SciPy comes with jax.
`optax.assignment.hungarian_algorithm` finds the same sums as fast (512 units in 3 ms each, on a
CPU), but its program is compiled anew for every width, half a second each, and it computes in
float32 unless float64 is on, so that a sweep could end lower than it began.

Ainsworth, Hayase and Srinivasa (2023), "Git Re-Basin", https://arxiv.org/abs/2209.04836:
activation matching, and weight matching (algorithm 1).
"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_count,
    check_key,
    check_like,
    check_mapping,
    check_real_array,
    check_real_floating,
    is_traced,
)
from jaxopt_course._reading import LISTED, Reading, how_many, number, readable
from jaxopt_course._streams import stream
from jaxopt_course.nn._arguments import check_module
from jaxopt_course.nn._functional_view import functional_view
from jaxopt_course.nn._models import MLP, VGG16, Block, ConvNet
from jaxopt_course.nn._normalization import BatchNorm, InstanceNorm, LayerNorm, WeightNorm

Axes = Mapping[str, tuple[str | None, ...]]

_LAYERS = (nnx.Linear, nnx.Conv)
_BY_UNIT = (BatchNorm, LayerNorm, InstanceNorm, nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm)
_NO_UNITS = (nnx.Dropout,)


@readable
class Matched(NamedTuple):
    """A network with its units in another's order.

    Attributes:
        params: The network's parameters, permuted: the function is the same.
        state: Its running statistics, permuted with them; empty where parameters were given.
        permutations: By the name of the units: unit i is the network's own unit `permutation[i]`.
        objective: The sum of inner products at the beginning and after every sweep, float64 on the
            host, shape `(sweeps + 1,)`; it never decreases.
    """

    params: Any
    state: Any
    permutations: dict[str, np.ndarray]
    objective: np.ndarray

    def _reading(self) -> Reading:
        """How many units changed places, and what that gained."""
        rows = []
        for name, order in list(self.permutations.items())[:LISTED]:
            moved = int(np.sum(np.asarray(order) != np.arange(len(order))))
            rows.append((name, f"{moved} of {how_many(len(order), 'unit')} moved"))
        if (left := len(self.permutations) - LISTED) > 0:
            rows.append(("...", f"{left} more"))
        first, last = number(self.objective[0]), number(self.objective[-1])
        sweeps = how_many(len(self.objective) - 1, "sweep")
        rows.append(("inner products", f"{first} before, {last} after {sweeps}"))
        layers = how_many(len(self.permutations), "layer")
        return Reading(f"a network with the units of {layers} in another's order", rows)


class _Layer(NamedTuple):
    """A layer with weights, and what follows it up to the next one.

    Attributes:
        name: Of its units.
        owner: What holds the layer, and
        key: under which attribute or number.
        leaves: Shapes of its variables by path, those of normalizations behind it among them.
        inputs: How many units enter it,
        outputs: and leave it.
    """

    name: str
    owner: Any
    key: Any
    leaves: dict[str, tuple[int, ...]]
    inputs: int
    outputs: int


def match_units(
    reference: Any,
    model: Any,
    *,
    axes: Axes | None = None,
    activations: tuple[Mapping[str, jax.Array], Mapping[str, jax.Array]] | None = None,
    key: jax.Array | None = None,
    max_sweeps: int = 100,
) -> Matched:
    """The parameters of a network with its hidden units in the order of a reference's.

    By weights, or by activations where these are given. Weight matching finds an order that no
    change in one layer alone improves, not the best of all.

    Not for use under `jit` or `vmap`: it runs on the host, a fraction of a second for layers of
    some hundred units.

    Args:
        reference: The network whose order is taken: an nnx module, or a tree of parameters.
        model: Another with parameters of the same shapes, module or tree as `reference` is. It is
            left as it is.
        axes: Which units are counted by which axis, by the path of a leaf (keys joined by slashes):
            `{"first/kernel": (None, "first"), "first/bias": ("first",), "out/kernel": ("first",
            None)}`. Axes of one name are permuted together, None and leaves that are not listed
            stay. By default `unit_axes(reference)`; trees of parameters need them.
        activations: To match by activations: for reference and model, from the names in `axes` to
            arrays whose last axis counts the units, of the same inputs; as `unit_activations` gives
            them.
        key: Typed key: each sweep visits the layers in an order drawn from it, as in the paper.
            By default in the order in which `axes` names them.
        max_sweeps: Bound on the sweeps of weight matching.

    Returns:
        A `Matched`: `apply(matched.params, matched.state, x)` of a `functional_view`, or
        `nnx.update(model, matched.params)`.

    Raises:
        TypeError, ValueError: for arguments other than described, traced ones, or axes that do not
            fit the leaves.

    Example:
        >>> one, other = (MLP((3, 4, 2), rngs=nnx.Rngs(seed)) for seed in (0, 1))
        >>> found = match_units(one, other)
        >>> found.permutations["blocks/0"].shape, bool(found.objective[-1] >= found.objective[0])
        ((4,), True)

    Reference:
        Ainsworth, Hayase and Srinivasa (2023), algorithm 1 (weights).
    """
    check_key(key=key, optional=True)
    check_count(max_sweeps=max_sweeps)
    axes, one, params, state = _read(reference, model, axes)
    sizes = _sizes(axes, params | state, "model")
    if activations is None:
        if is_traced((one, params)):
            raise TypeError("reference and model must be known numbers, got traced ones")
        counted = {path: named for path, named in axes.items() if path in params}
        order = None if key is None else stream(key, "units")
        weights = _Weights(one, params, counted, sizes)
        found, objective = _by_weights(weights, order, max_sweeps)
    else:
        found, objective = _by_activations(activations, sizes)
    if not isinstance(model, nnx.Module):
        return Matched(permute_units(model, found, axes), {}, found, objective)
    view = functional_view(model)
    own, other = (
        {path: named for path, named in axes.items() if path in leaves}
        for leaves in (params, state)
    )
    return Matched(
        permute_units(view.params, found, own),
        permute_units(view.state, found, other),
        found,
        objective,
    )


def permute_units(tree: Any, permutations: Mapping[str, Any], axes: Axes) -> Any:
    """A tree of parameters, or of what has their shapes, with units in another order.

    Args:
        tree: Parameters, gradients, a mean of parameters.
        permutations: Orders by name, as in `Matched.permutations`.
        axes: As for `match_units`, for leaves of this tree.

    Returns:
        The tree; leaves that `axes` does not list are as they were.

    Raises:
        TypeError, ValueError: for arguments other than described, or axes that do not fit.

    Example:
        >>> permute_units({"w": jnp.arange(3)}, {"a": jnp.array([2, 0, 1])}, {"w": ("a",)})
        {'w': Array([2, 0, 1], dtype=int32)}
    """
    check_mapping(permutations=permutations)
    leaves = _leaves(tree)
    axes = _checked(axes)
    sizes = _sizes(axes, leaves, "tree")
    for name, size in sizes.items():
        if name not in permutations:
            raise ValueError(f"permutations must hold {name!r}, which axes names")
        check_real_array("permutations", jnp.asarray(permutations[name]), rank=1)
        order = permutations[name]
        if not is_traced(order) and sorted(np.asarray(order).tolist()) != list(range(size)):
            raise ValueError(
                f"permutations[{name!r}] must be an order of {size} units, got {brief(order)}"
            )

    def permuted(keys, leaf):
        for axis, name in enumerate(axes.get(_path(keys), ())):
            if name is not None:
                leaf = jnp.take(leaf, jnp.asarray(permutations[name]), axis=axis)
        return leaf

    return jax.tree.map_with_path(permuted, tree)


def unit_axes(model: nnx.Module) -> dict[str, tuple[str | None, ...]]:
    """Which axes of a sequential network's parameters and statistics count which hidden units.

    For `MLP`, `ConvNet`, `VGG16`, and `nnx.Sequential` of `nnx.Linear`, `nnx.Conv`, `Block`s,
    normalizations that treat units alike (not `GroupNorm`, whose groups would be mixed), dropout
    and functions, which must act on every unit alike. Units are named by the path of their layer.
    The kernel's last axis counts the units of a layer, the last but one those that enter it.

    Args:
        model: The network.

    Returns:
        Axes by path, as `match_units` takes them.

    Raises:
        TypeError: for another network, or one with a layer that is none of these.
        ValueError: If a layer does not take as many units as the one before it has, such as after
            the positions of an image were made units, or a convolution has groups.

    Example:
        >>> unit_axes(MLP((3, 4, 2), rngs=nnx.Rngs(0)))["blocks/0/layer/kernel"]
        (None, 'blocks/0')
    """
    check_module(model)
    layers = _layers(model)
    found: dict[str, tuple[str | None, ...]] = {}
    for index, layer in enumerate(layers):
        before = layers[index - 1].name if index else None
        own = layer.name if index < len(layers) - 1 else None
        if index and layers[index - 1].outputs != layer.inputs:
            raise ValueError(
                f"model must have layers that take the units before them, but {layer.name} takes "
                f"{layer.inputs} of {layers[index - 1].outputs}"
            )
        for path, shape in layer.leaves.items():
            if path.endswith("kernel") and len(shape) >= 2:
                named = (*[None] * (len(shape) - 2), before, own)
            elif shape == (layer.outputs,):
                named = (own,)
            else:
                raise ValueError(
                    f"model must have variables of one axis beside its kernels, got shape {shape} "
                    f"of {path}"
                )
            if any(named):
                found[path] = named
    return found


def unit_activations(model: nnx.Module, inputs: jax.Array) -> dict[str, jax.Array]:
    """The activations of a sequential network's hidden units, as they enter the next layer.

    The network is evaluated in evaluation mode: running statistics, no dropout.

    Args:
        model: A network that `unit_axes` takes.
        inputs: What it is called with.

    Returns:
        From the names of `unit_axes` to arrays whose last axis counts the units.

    Raises:
        TypeError, ValueError: as `unit_axes`.

    Example:
        >>> found = unit_activations(MLP((3, 4, 2), rngs=nnx.Rngs(0)), jnp.ones((5, 3)))
        >>> found["blocks/0"].shape
        (5, 4)
    """
    check_module(model)
    check_real_array("inputs", inputs)
    apply, params, state = functional_view(model)
    copy = nnx.merge(apply.eval_graph, *jax.tree.map(lambda leaf: leaf, (params, state)))
    layers = _layers(copy)
    seen: dict[str, jax.Array] = {}

    def recorder(name, layer):
        def call(x):
            seen[name] = x
            return layer(x)

        return call

    for before, layer in itertools.pairwise(layers):
        inner = _get(layer.owner, layer.key)
        _set(layer.owner, layer.key, recorder(before.name, inner))
    copy(inputs)
    return seen


# What is given, as leaves by path.


def _read(
    reference: Any, model: Any, axes: Axes | None
) -> tuple[dict[str, tuple[str | None, ...]], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return axes, leaves of the reference, of the model, and of the model's statistics."""
    modules = [isinstance(one, nnx.Module) for one in (reference, model)]
    state: dict[str, Any] = {}
    if all(modules):
        named = unit_axes(reference) if axes is None else _checked(axes)
        one, view = functional_view(reference).params, functional_view(model)
        other, state = view.params, _leaves(view.state)
    elif any(modules):
        raise TypeError("reference and model must both be modules, or both trees of parameters")
    else:
        one, other = reference, model
        for name, tree in (("reference", one), ("model", other)):
            check_real_floating(name, tree)
        if axes is None:
            raise TypeError(
                "reference and model must be nnx modules unless axes are given, "
                f"got {type(reference).__name__}"
            )
        named = _checked(axes)
    check_like("model", other, "reference", one)
    return named, _leaves(one), _leaves(other), state


def _checked(axes: Any) -> dict[str, tuple[str | None, ...]]:
    """Return axes that are names or None, no name twice in a leaf."""
    check_mapping(axes=axes)
    for path, names in axes.items():
        if not isinstance(path, str) or not isinstance(names, tuple | list):
            raise TypeError(f"axes must map paths to tuples of names, got {brief({path: names})}")
        given = [name for name in names if name is not None]
        if not all(isinstance(name, str) for name in given) or len(set(given)) < len(given):
            raise ValueError(
                "axes must name units by strings, each once in a leaf, "
                f"got {brief(names)} for {path}"
            )
    return {path: tuple(names) for path, names in axes.items()}


def _sizes(axes: Axes, leaves: Mapping[str, Any], of: str) -> dict[str, int]:
    """Return how many units each name has, in the leaves of what the caller calls `of`."""
    sizes: dict[str, int] = {}
    for path, names in axes.items():
        if path not in leaves:
            raise ValueError(f"axes must be of leaves of {of}, got {path} beside {[*leaves]}")
        shape = np.shape(leaves[path])
        if len(shape) != len(names):
            raise ValueError(f"axes must name {len(shape)} axes of {path}, got {brief(names)}")
        for name, size in zip(names, shape, strict=True):
            if name is not None and sizes.setdefault(name, size) != size:
                raise ValueError(
                    f"axes must give {name!r} to axes of one length, got {sizes[name]} and {size}"
                )
    return sizes


def _leaves(tree: Any) -> dict[str, Any]:
    return {_path(keys): leaf for keys, leaf in jax.tree.leaves_with_path(tree)}


def _path(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


# The two ways of matching.


class _Weights:
    """Weights of two networks, and the orders of the second one's units so far."""

    def __init__(self, reference: Any, model: Any, axes: Axes, sizes: dict[str, int]) -> None:
        """Begin with the units as they are; leaves are counted in float64."""
        self.reference, self.model = (
            {path: np.asarray(leaves[path]).astype(np.float64) for path in axes}
            for leaves in (reference, model)
        )
        self.axes, self.sizes = axes, sizes
        self.orders = {name: np.arange(size) for name, size in sizes.items()}

    def total(self) -> float:
        """Return the sum of inner products."""
        return sum(float(np.vdot(self.reference[path], self._permuted(path))) for path in self.axes)

    def assign(self, name: str) -> bool:
        """Give units of one name the best order; return whether it is a better one."""
        products, units = self._products(name), np.arange(self.sizes[name])
        order = _assignment(products)
        gain = products[units, order].sum() - products[units, self.orders[name]].sum()
        # Not > 0: of equal sums rounding would choose now one, now the other.
        better = bool(gain > 1e-12 * np.abs(products).sum())
        if better:
            self.orders[name] = order
        return better

    def _permuted(self, path: str, without: str | None = None) -> np.ndarray:
        leaf = self.model[path]
        for axis, name in enumerate(self.axes[path]):
            if name is not None and name != without:
                leaf = leaf.take(self.orders[name], axis)
        return leaf

    def _products(self, name: str) -> np.ndarray:
        """Return the inner products of everything that belongs to a unit, of one and of other."""
        size = self.sizes[name]
        found = np.zeros((size, size))
        for path, named in self.axes.items():
            if name in named:
                rows, columns = (
                    np.moveaxis(leaf, named.index(name), 0).reshape(size, -1)
                    for leaf in (self.reference[path], self._permuted(path, without=name))
                )
                found += rows @ columns.T
        return found


def _by_weights(
    weights: _Weights, key: jax.Array | None, max_sweeps: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Assign layer by layer until nothing changes."""
    objective = [weights.total()]
    for sweep in range(max_sweeps):
        names = list(weights.sizes)
        if key is not None:
            drawn = jax.random.permutation(jax.random.fold_in(key, sweep), len(names))
            names = [names[i] for i in np.asarray(drawn)]
        changed = [weights.assign(name) for name in names]
        objective.append(weights.total())
        if not any(changed):
            break
    return weights.orders, np.array(objective)


def _by_activations(
    activations: Any, sizes: dict[str, int]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Assign every layer by the inner products of its units' activations."""
    if not isinstance(activations, tuple | list) or len(activations) != 2:
        raise TypeError(f"activations must be two mappings, got {brief(activations)}")
    for one in activations:
        check_mapping(activations=one)
        if set(one) != set(sizes):
            raise ValueError(f"activations must be of {sorted(sizes)}, got {sorted(one)}")
    if is_traced(activations):
        raise TypeError("activations must be known numbers, got traced ones")
    orders, before, after = {}, 0.0, 0.0
    for name, size in sizes.items():
        for one in activations:
            check_real_array("activations", one[name], features=size)
        first, second = (
            np.asarray(one[name]).astype(np.float64).reshape(-1, size) for one in activations
        )
        if first.shape != second.shape:
            shapes = [np.shape(one[name]) for one in activations]
            raise ValueError(f"activations must be of the same inputs, got {shapes} for {name}")
        similarity = first.T @ second
        orders[name] = _assignment(similarity)
        before += np.trace(similarity)
        after += similarity[np.arange(size), orders[name]].sum()
    return orders, np.array([before, max(before, after)])


def _assignment(similarity: np.ndarray) -> np.ndarray:
    """Return for every row the column such that the sum is largest."""
    from scipy.optimize import linear_sum_assignment  # It takes longer to import than all else.

    if not np.isfinite(similarity).all():
        raise ValueError("reference and model must be finite, got a product that is not")
    return linear_sum_assignment(similarity, maximize=True)[1]


# What a sequential network consists of.


def _layers(model: nnx.Module) -> list[_Layer]:
    """Return the layers with weights in order."""
    found: list[_Layer] = []
    for path, owner, key in _parts(model):
        part = _get(owner, key)
        if isinstance(part, Block):
            found.append(_layer(path, part, "layer", part.layer, "layer"))
            if part.normalization is not None:
                _follow(found, f"{path}/normalization", part.normalization)
        elif isinstance(part, (*_LAYERS, WeightNorm)):
            found.append(_layer(path, owner, key, part, ""))
        elif isinstance(part, _NO_UNITS) or not isinstance(part, nnx.Module):
            continue
        else:
            _follow(found, path, part)
    if not found:
        raise TypeError("model must have a layer with weights, got none; give axes")
    return found


def _parts(model: nnx.Module, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return path, owner and key of every part of a network in the order of evaluation."""

    def of(name, owner):
        return [(f"{prefix}{name}/{i}", owner, i) for i in range(len(owner))]

    if isinstance(model, MLP):
        return of("blocks", model.blocks)
    if isinstance(model, ConvNet):
        return [*of("blocks", model.blocks), (f"{prefix}readout", model, "readout")]
    if isinstance(model, VGG16):
        stages = [part for i, stage in enumerate(model.stages) for part in of(f"stages/{i}", stage)]
        ends = [(f"{prefix}{name}", model, name) for name in ("head", "readout")]
        return [*stages, *ends]
    if isinstance(model, nnx.Sequential):
        found = []
        for path, owner, i in of("layers", model.layers):
            inner = isinstance(owner[i], nnx.Sequential)
            found += _parts(owner[i], f"{path}/") if inner else [(path, owner, i)]
        return found
    raise TypeError(
        f"model must be an MLP, ConvNet, VGG16 or nnx.Sequential unless axes are given, "
        f"got {type(model).__name__}"
    )


def _layer(name: str, owner: Any, key: Any, layer: Any, below: str) -> _Layer:
    inner = layer.layer_instance if isinstance(layer, WeightNorm) else layer
    if not isinstance(inner, _LAYERS):
        raise TypeError(
            f"model must have layers that are nnx.Linear or nnx.Conv unless axes are given, got "
            f"{type(inner).__name__} at {name}"
        )
    if getattr(inner, "feature_group_count", 1) != 1:
        raise ValueError(f"model must have convolutions without groups, got {name}")
    path = f"{name}/{below}" if below else name
    return _Layer(name, owner, key, _variables(path, layer), inner.in_features, inner.out_features)


def _follow(found: list[_Layer], path: str, part: Any) -> None:
    """Count the variables of a normalization to the layer before it."""
    if not isinstance(part, _BY_UNIT):
        raise TypeError(
            f"model must have normalizations that treat units alike unless axes are given, got "
            f"{type(part).__name__} at {path}"
        )
    if found:
        found[-1].leaves.update(_variables(path, part))


def _variables(path: str, module: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a module's variables by path, but for random streams."""
    state = nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngState)))
    return {f"{path}/{below}": np.shape(leaf) for below, leaf in _leaves(state).items()}


def _get(owner: Any, key: Any) -> Any:
    return owner[key] if isinstance(key, int) else getattr(owner, key)


def _set(owner: Any, key: Any, value: Any) -> None:
    if isinstance(key, int):
        owner[key] = value
    else:
        setattr(owner, key, value)

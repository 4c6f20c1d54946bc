r"""The factors of all layers of a model, as means over examples.

The forward pass keeps what enters every layer. What comes back to its output is the derivative by
an offset there, and each of the scores

    s = d log p(y | o) / d o

of an example sends one back: to every class in turn, weighted by the root of its share, or to drawn
labels, or to the example's own. Scores are gone through one after another, in the memory of one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from jaxopt_course import _loops
from jaxopt_course._checks import is_traced
from jaxopt_course._coupling import coupled_examples
from jaxopt_course._tracing import Traced, trace, trace_once
from jaxopt_course.saddle._layers import Layer, evaluate
from jaxopt_course.saddle._objectives import batch_mean, num_examples


class Asked(NamedTuple):
    """What factors are asked for.

    Attributes:
        name: What the caller calls the function,
        data_name: and what its data.
        least: How many axes its outputs must have,
        most: and how many they may have; None for any number.
        scores: `(outputs, numbers of the examples, key) -> (count, function of a number)`.
        sharing: What to do with positions, "expand" or "reduce".
        batch_size: Examples at a time; None for all.
    """

    name: str
    data_name: str
    least: int
    most: int | None
    scores: Callable[..., tuple[int, Callable[[jax.Array], jax.Array]]]
    sharing: str
    batch_size: int | None


def factors(
    model: Callable[[Any, Any], Any], params: Any, data: Any, asked: Asked, key: Any
) -> list[tuple[Layer, jax.Array, jax.Array]]:
    """Each layer with its two factors, in the order in which an example meets them.

    Args:
        model: From parameters and data to outputs.
        params: Parameters, float32 at least.
        data: Pytree of arrays with the examples along the first axis.
        asked: What to compute.
        key: For the scores; None if they need none.

    Returns:
        One a layer; none if there is no layer.
    """
    count = num_examples(data)
    with jax.default_matmul_precision("highest"):
        one = _trace_one(model, params, data, asked)
        layers, sizes = _layers_of(one, data, params)
        kept = list(dict.fromkeys(layer for layer in layers if layer is not None))
        if not kept:
            return []
        means = partial(_means, one=one, layers=layers, sizes=sizes, asked=asked)
        operands = jax.tree.map(jnp.asarray, (params, one.constants, key))
        pairs = _loops.computed(
            _on_any_mesh(
                lambda operands, data: batch_mean(means, data, asked.batch_size or count, operands)
            ),
            operands,
            (data, jnp.arange(count)),
        )
    return [(layer, *pair) for layer, pair in zip(kept, pairs, strict=True)]


def _on_any_mesh(mean: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Let XLA choose the shardings within, where axes are explicit: a mean is on all devices."""
    if AxisType.Explicit not in jax.sharding.get_abstract_mesh().axis_types:
        return mean
    automatic: Any = jax.sharding.auto_axes  # Its type is that of a decorator with arguments.
    return automatic(mean, out_sharding=PartitionSpec())


def _trace_one(model: Any, params: Any, data: Any, asked: Asked) -> Traced:
    """The model's equations for one example, after a look at those for all."""
    name, least, most = asked.name, asked.least, asked.most
    swapped = lambda data, params: model(params, data)  # noqa: E731
    try:
        whole = trace(name, swapped, data, params, of=(model,))
    except TypeError as error:
        if "not a valid JAX type" not in str(error):
            raise  # the model's own
        raise TypeError(f"{name} must return a real floating array") from error
    out, count = whole.result(), num_examples(data)
    if not isinstance(out, jax.ShapeDtypeStruct) or not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"{name} must return a real floating array, got {out}")
    fits = least <= out.ndim <= (math.inf if most is None else most) and out.size
    if not fits or out.shape[0] != count:
        wanted = f"({count},)" if most == 1 else f"({count}, classes)" if least == 2 else None
        raise ValueError(
            f"{name} must return an array of shape {wanted or f'({count}, ...)'}, got {out.shape}"
        )
    equations = whole.equations
    if coupled_examples(equations.jaxpr, len(jax.tree.leaves(params))) is not None:
        raise ValueError(
            f"{name} must treat each of the examples in {asked.data_name} on its own, but "
            "normalizes by the statistics of its batch: evaluate it by its running averages"
        )
    # All at once may be too many where only some at a time are asked for.
    at_once = asked.batch_size is None or asked.batch_size >= count
    if count > 1 and at_once and not is_traced((params, data)):
        apart, size = _loops.computed(_on_any_mesh(_together_and_alone(model)), params, data)
        # Sums of several rows are rounded otherwise than those of one, in half precision clearly.
        if apart > 0.05 * size:
            raise ValueError(
                f"{name} must treat each of the examples in {asked.data_name} on its own, but what "
                f"it gives for the first or last among all and alone is {float(apart):.2g} apart"
            )
    return trace_once(swapped, _one_of(data), params)


def _together_and_alone(model: Any) -> Callable[[Any, Any], tuple[jax.Array, jax.Array]]:
    """A function to how far outputs of two examples among all are from those alone, and their size.

    Data that depend on each other leave no trace in the equations for one example.
    """

    def compare(params: Any, data: Any) -> tuple[jax.Array, jax.Array]:
        def of(rows: slice) -> jax.Array:
            few = jax.tree.map(lambda leaf: leaf[rows], data)
            return jnp.asarray(model(params, few), jnp.float32)

        everything, first, last = of(slice(None)), of(slice(0, 1)), of(slice(-1, None))
        apart = [everything[:1] - first, everything[-1:] - last]
        return jnp.max(jnp.abs(jnp.concatenate(apart))), jnp.max(jnp.abs(everything))

    return compare


def _one_of(data: Any) -> Any:
    """Shapes and dtypes of a single example, with its axis."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), data)


def _layers_of(
    one: Traced, data: Any, params: Any
) -> tuple[tuple[Layer | None, ...], tuple[tuple[int, int], ...]]:
    """The layer of every product with a kernel, and the size of what it gives."""
    layers: list[Layer | None] = []
    sizes: list[tuple[int, int]] = []

    def look(constants, data, params):
        held = [*constants, *jax.tree.leaves(data)]
        result = evaluate(one.equations.jaxpr, held, jax.tree.leaves(params))
        layers.extend(result.layers)
        sizes.extend(result.sizes)
        return result.outputs

    jax.eval_shape(look, one.constants, _one_of(data), params)
    return tuple(layers), tuple(sizes)


def _means(
    operands: Any, batch: Any, *, one: Traced, layers: Any, sizes: Any, asked: Asked
) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """Both factors of every layer, as means over a batch."""
    params, constants, key = operands
    data, numbers = batch
    kept = list(dict.fromkeys(layer for layer in layers if layer is not None))
    leaves = jax.tree.leaves(params)
    wide = jnp.result_type(jnp.float32, *leaves)

    def of_example(offsets: Any, example: Any) -> tuple[jax.Array, list[jax.Array]]:
        held = [*constants, *(leaf[None] for leaf in jax.tree.leaves(example))]
        result = evaluate(one.equations.jaxpr, held, leaves, offsets)
        return result.outputs[0][0], result.inputs

    def of_layer(rows: list[jax.Array], layer: Layer) -> jax.Array:
        """What all products of a layer have, one after another: shape (examples, R, features)."""
        own = [row for row, other in zip(rows, layers, strict=True) if other == layer]
        return jnp.concatenate(own, axis=1).astype(wide)

    def moment(rows: jax.Array) -> jax.Array:
        return jnp.einsum("nri,nrj->ij", rows, rows) / numbers.size

    # What enters the layers.
    offsets = [jnp.zeros((numbers.size, *size), wide) for size in sizes]
    forward = lambda offsets: jax.vmap(of_example)(offsets, data)  # noqa: E731
    outputs, pull, rows = jax.vjp(forward, offsets, has_aux=True)
    entering = []
    for layer in kept:
        a = of_layer(rows, layer)
        if layer.bias is not None:
            a = jnp.concatenate([a, jnp.ones_like(a[..., :1])], axis=-1)
        if asked.sharing == "reduce":
            entering.append(moment(jnp.mean(a, axis=1, keepdims=True)))
        else:
            entering.append(moment(a) / a.shape[1])

    # What comes back, for one score of every example after another.
    count, score = asked.scores(outputs, numbers, key)

    def add(total: Any, number: jax.Array) -> tuple[Any, None]:
        (gradients,) = pull(score(number).astype(outputs.dtype))
        g = [of_layer(gradients, layer) for layer in kept]
        if asked.sharing == "reduce":
            g = [jnp.sum(rows, axis=1, keepdims=True) for rows in g]
        return [old + moment(rows) for old, rows in zip(total, g, strict=True)], None

    widths = {layer: size[1] for layer, size in zip(layers, sizes, strict=True)}
    begin = [jnp.zeros((widths[layer], widths[layer]), wide) for layer in kept]
    leaving, _ = jax.lax.scan(add, begin, jnp.arange(count))
    return tuple(zip(entering, leaving, strict=True))


# Scores, gradients of log-likelihoods at the outputs: how many an example has, and a function from
# a number to those of all examples. The sum of an example's s s^T is the mean over labels.


def own_score(
    outputs: jax.Array, _numbers: jax.Array, _key: Any
) -> tuple[int, Callable[[jax.Array], jax.Array]]:
    """The one of losses: an example's gradient is that of its own."""
    return 1, lambda _: jnp.ones_like(outputs)


def every_score(
    family: str, outputs: jax.Array, _numbers: jax.Array, _key: Any
) -> tuple[int, Callable[[jax.Array], jax.Array]]:
    """Weighted so that the mean over labels is exact."""
    shape, outputs = outputs.shape[1:], _wide(outputs)
    size, shares = math.prod(shape), _shares(family, outputs)

    def score(number: jax.Array) -> jax.Array:
        unit = jax.nn.one_hot(number, size, dtype=outputs.dtype).reshape(1, *shape)
        if family == "categorical":  # sqrt(p) (unit - p), where the unit vector is.
            here = jnp.max(unit, axis=-1, keepdims=True)
            root = jnp.sqrt(jnp.sum(shares * unit, axis=-1, keepdims=True))
            return here * root * (unit - shares)
        if family == "bernoulli":
            return unit * jnp.sqrt(shares * jax.nn.sigmoid(-outputs))
        return jnp.broadcast_to(unit, outputs.shape)

    return size, score


def drawn_scores(
    family: str, num_samples: int, outputs: jax.Array, numbers: jax.Array, key: Any
) -> tuple[int, Callable[[jax.Array], jax.Array]]:
    """Of labels that the model draws; each example has a key of its own."""
    shape, outputs = outputs.shape[1:], _wide(outputs)

    def score(number: jax.Array) -> jax.Array:
        def of_example(index: jax.Array, logits: jax.Array, shares: jax.Array) -> jax.Array:
            own = jax.random.fold_in(jax.random.fold_in(key, number), index)
            if family == "categorical":
                labels = jax.random.categorical(own, logits)
                return jax.nn.one_hot(labels, shape[-1], dtype=logits.dtype) - shares
            if family == "bernoulli":
                return jax.random.bernoulli(own, shares).astype(logits.dtype) - shares
            return jax.random.normal(own, shape, logits.dtype)

        return jax.vmap(of_example)(numbers, outputs, _shares(family, outputs)) / num_samples**0.5

    return num_samples, score


def _wide(outputs: jax.Array) -> jax.Array:
    return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))


def _shares(family: str, outputs: jax.Array) -> jax.Array:
    """Means of the labels."""
    functions = {"categorical": jax.nn.softmax, "bernoulli": jax.nn.sigmoid}
    return functions.get(family, jnp.asarray)(outputs)

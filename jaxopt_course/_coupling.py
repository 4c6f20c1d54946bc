"""Whether the value of one example depends on another, read off the equations of an objective.

Batch normalization in training mode takes a mean over the examples and puts it back into each of
them. That is what is looked for, whichever library's layer does it and whatever it is called:

    1. an array that the objective closes over has its examples along its first axis, which is
       followed through the equations;
    2. a sum over that axis of values that depend on the parameters is pooled, if it keeps another
       axis (a mean loss does not, a mean of each feature does);
    3. where something pooled meets, element by element, values that have the axis still, one
       example depends on the others.

What the axis cannot be followed through is passed over in silence: a coupling may be missed there.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal, jaxprs_in_params

# Values of which it is not known along which axis the examples are.
_UNKNOWN = -1
# Operations whose result has the examples along the axis along which all operands have them.
_JOINING = ("concatenate", "dynamic_update_slice", "select_and_scatter_add")
# Reductions, and those that add; `psum` over an axis that `vmap` has named has its number.
_REDUCING, _SUMMING = ("reduce_", "arg", "psum"), ("reduce_sum", "psum")
# Operations along axes, not element by element, though result and operand may have one shape.
_MOVING = (
    *("transpose", "reshape", "broadcast_in_dim", "squeeze", "rev", "sort", "pad", "slice"),
    *("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "dynamic_slice", "split"),
    *("reduce_window_sum", "reduce_window_max", "reduce_window_min", "conv_general_dilated"),
)


class _Value(NamedTuple):
    """What is known of an array in an equation.

    Attributes:
        axis: The axis along which the examples are, None if there is none, or `_UNKNOWN`.
        source: Shape of the array whose first axis that was.
        learned: Whether the array depends on the parameters.
        pooled: Shape of the array whose examples it holds a sum over, None if it holds none.
    """

    axis: int | None = None
    source: tuple[int, ...] = ()
    learned: bool = False
    pooled: tuple[int, ...] | None = None


def coupled_examples(jaxpr: Any, num_params: int) -> tuple[int, ...] | None:
    """Return the shape of an array whose examples depend on each other, None if none is seen.

    Args:
        jaxpr: Equations of an objective.
        num_params: How many of its last arguments are parameters. The other arguments, and its
            constants, are the arrays that it closes over.

    Example:
        >>> inputs = jnp.ones((5, 3))
        >>> def centred(w):
        ...     outputs = inputs @ w
        ...     return jnp.mean((outputs - jnp.mean(outputs, axis=0, keepdims=True)) ** 2)
        >>> coupled_examples(jax.make_jaxpr(centred)(jnp.ones((3, 4))).jaxpr, 1)
        (5, 3)
    """
    count = len(jaxpr.invars) - num_params
    given = [_data(atom.aval) for atom in jaxpr.invars[:count]]
    given += [_Value(learned=True) for _ in jaxpr.invars[count:]]
    found: list[tuple[int, ...]] = []
    _follow(jaxpr, given, found)
    return found[0] if found else None


def _data(aval: Any) -> _Value:
    """Of an array that does not depend on the parameters, the first axis has the examples."""
    shape = getattr(aval, "shape", ())
    return _Value(axis=0, source=shape) if shape and shape[0] > 1 else _Value()


def _follow(jaxpr: Any, given: Sequence[_Value], found: list[tuple[int, ...]]) -> list[_Value]:
    """Go through equations, add to `found` where examples meet, and return what comes out."""
    known = dict(zip(jaxpr.invars, given, strict=True))
    known |= {atom: _data(atom.aval) for atom in jaxpr.constvars}

    def read(atom: Any) -> _Value:
        return _Value() if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        outputs = _apply(equation, operands, found)
        known |= zip(equation.outvars, outputs, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, operands: list[_Value], found: list[tuple[int, ...]]) -> list[_Value]:
    """Return what is known of the results of an equation."""
    name = equation.primitive.name
    if name == "scan":
        return _scan(equation, operands, found)
    if name == "while":
        return _while(equation, operands, found)
    inner = list(jaxprs_in_params(equation.params))
    if name == "cond":
        branches = [_follow(branch, operands[1:], found) for branch in inner]
        return [_join(values) for values in zip(*branches, strict=True)]
    if len(inner) == 1 and _is_call_of(inner[0], equation):
        return _follow(inner[0], operands, found)
    if not equation.outvars:
        return []
    learned = any(value.learned for value in operands)
    pooled = next((value.pooled for value in operands if value.pooled), None)
    axis, source, sums = _axis(equation, operands, found)
    if sums and learned and pooled is None:
        pooled = source
    value = _Value(None if sums else axis, () if sums else source, learned, pooled)
    return [value for _ in equation.outvars]


def _is_call_of(jaxpr: Any, equation: Any) -> bool:
    """Whether an equation computes these equations of its operands, as jit and checkpoint do."""
    own, given = ([*one.invars, *one.outvars] for one in (jaxpr, equation))
    return len(jaxpr.invars) == len(equation.invars) and (
        [_array(atom.aval) for atom in own] == [_array(atom.aval) for atom in given]
    )


def _array(aval: Any) -> Any:
    """Shape and dtype of an array; what is no array, a reference in a kernel say, is like none."""
    return (aval.shape, aval.dtype) if isinstance(aval, jax.core.ShapedArray) else object()


def _axis(
    equation: Any, operands: list[_Value], found: list[tuple[int, ...]]
) -> tuple[int | None, tuple[int, ...], bool]:
    """Where the examples are in the result of an equation.

    Returns:
        The axis, as in `_Value`; the shape of the array whose examples they are; and whether the
        result is a sum over them, one that keeps another axis.
    """
    name, numbers = equation.primitive.name, equation.params.get("dimension_numbers")
    shapes = [getattr(atom.aval, "shape", ()) for atom in equation.invars]
    out = getattr(equation.outvars[0].aval, "shape", ())
    if all(value.axis is None for value in operands):
        return None, (), False
    if name == "dot_general":
        return (*_of_product(numbers, shapes, operands), False)
    if name == "gather":
        return (*_of_gather(numbers, shapes, operands), False)
    if name in _JOINING:
        joined = _join(operands)
        return joined.axis, joined.source, False
    first = operands[0]
    if name not in _MOVING and all(_spreads(shape, out) for shape in shapes):
        return (*_of_elements(operands, shapes, found), False)
    if first.axis is None or first.axis == _UNKNOWN:
        return first.axis, first.source, False
    if name.startswith(_REDUCING) and first.axis in equation.params.get("axes", ()):
        return None, first.source, name in _SUMMING and math.prod(out) > 1
    axis = _moved(name, equation.params, first.axis, shapes[0], out)
    if name == "transpose" and axis != 0 and not first.learned:
        return None, (), False  # A matrix of fixed weights, not of examples.
    return axis, first.source, False


def _moved(
    name: str, parameters: Any, axis: int, before: tuple[int, ...], after: tuple[int, ...]
) -> int:
    """Return where an axis is after an operation on one array."""
    if name == "transpose":
        return parameters["permutation"].index(axis)
    if name == "broadcast_in_dim":
        return parameters["broadcast_dimensions"][axis]
    if name == "reshape":
        # Where as much is before it: in one piece, as the first of its parts, or as part of more.
        ahead, size = math.prod(before[:axis]), before[axis]
        places = [i for i, one in enumerate(after) if one > 1 and math.prod(after[:i]) == ahead]
        fitting = (i for i in places if size % after[i] == 0 or after[i] % size == 0)
        return next(fitting, _UNKNOWN)
    if name == "conv_general_dilated":
        numbers = parameters["dimension_numbers"]
        examples = axis == numbers.lhs_spec[0] and parameters["batch_group_count"] == 1
        return numbers.out_spec[0] if examples else _UNKNOWN
    gone = parameters.get("dimensions" if name == "squeeze" else "axes")
    if gone is not None and (name == "squeeze" or name.startswith(_REDUCING)):
        return axis - sum(one < axis for one in gone if not isinstance(one, str))
    if len(before) == len(after) and before[axis] == after[axis] and name in _MOVING:
        return axis
    return _UNKNOWN


def _spreads(shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Whether an operation on elements spreads an operand of this shape over its result."""
    fitting = all(size in (1, full) for size, full in zip(shape, out, strict=False))
    return not shape or (len(shape) == len(out) and fitting)


def _of_elements(
    operands: list[_Value], shapes: list[tuple[int, ...]], found: list[tuple[int, ...]]
) -> tuple[int | None, tuple[int, ...]]:
    """Follow an operation on elements; this is where what is pooled meets examples again."""
    arrays = [value for value, shape in zip(operands, shapes, strict=True) if shape]
    examples = [value for value in arrays if value.axis not in (None, _UNKNOWN) and value.learned]
    statistics = [value for value in arrays if value.axis is None and value.pooled]
    sources = [other.source for other in examples]
    found += [one.pooled for one in statistics if one.pooled and one.pooled in sources]
    # Weights that are held fixed have a first axis, too, which is not one of examples: the axis of
    # activations counts. Running averages, mixed with those of the batch, have none of examples.
    learned = [value for value in arrays if value.learned and value.axis is not None]
    joined = _join(learned or arrays)
    if not learned and (statistics or (joined.axis != 0 and any(one.learned for one in arrays))):
        return None, ()
    return joined.axis, joined.source


def _of_product(
    numbers: Any, shapes: list[tuple[int, ...]], operands: list[_Value]
) -> tuple[int | None, tuple[int, ...]]:
    """Follow a product of matrices: batch axes, free ones of the left, then those of the right."""
    contracted, batch = numbers
    places = []
    offset = len(batch[0])
    for value, shape, summed, shared in zip(operands, shapes, contracted, batch, strict=True):
        free = [axis for axis in range(len(shape)) if axis not in (*summed, *shared)]
        place = value.axis
        if value.axis in shared:
            place = list(shared).index(value.axis)
        elif value.axis in free:
            place = offset + free.index(value.axis)
        elif value.axis != _UNKNOWN:
            place = None
        offset += len(free)
        if place is not None:
            places.append(value._replace(axis=place))
    learned = [value for value in places if value.learned]
    joined = _join(learned or places)
    return joined.axis, joined.source


def _of_gather(
    numbers: Any, shapes: list[tuple[int, ...]], operands: list[_Value]
) -> tuple[int | None, tuple[int, ...]]:
    """Follow rows that are looked up: the axes of the indices, among those of the rows."""
    rows, indices = operands[0], operands[1]
    rank = len(numbers.offset_dims) + len(shapes[1]) - 1
    own = [axis for axis in range(rank) if axis not in numbers.offset_dims]
    if rows.axis in numbers.operand_batching_dims:
        shared = numbers.operand_batching_dims.index(rows.axis)
        return own[numbers.start_indices_batching_dims[shared]], rows.source
    if rows.learned and rows.axis is not None:
        return _UNKNOWN, rows.source
    if indices.axis is None:
        # Rows of the data, a batch say; or of the parameters, which are no examples.
        return (None, ()) if rows.axis is None else (0, rows.source)
    looked_up = 0 <= indices.axis < len(own)
    return own[indices.axis] if looked_up else _UNKNOWN, indices.source


def _scan(equation: Any, operands: list[_Value], found: list[tuple[int, ...]]) -> list[_Value]:
    """Follow a loop whose rounds take slices: those of data have their own examples."""
    body = equation.params["jaxpr"].jaxpr
    # What is carried and what is sliced shows in the shapes: the parameters' names have changed.
    pairs = zip(equation.outvars, body.outvars, strict=True)
    carried = sum(outer.aval.shape == inner.aval.shape for outer, inner in pairs)
    sliced = sum(
        outer.aval.shape != inner.aval.shape
        for outer, inner in zip(equation.invars, body.invars, strict=True)
    )
    fixed = len(operands) - carried - sliced
    slices = []
    for value, atom in zip(
        operands[fixed + carried :], body.invars[fixed + carried :], strict=True
    ):
        if value.axis is None or value.axis == _UNKNOWN:
            slices.append(value)
        elif value.axis > 0:
            slices.append(value._replace(axis=value.axis - 1))
        else:
            slices.append(value._replace(axis=None) if value.learned else _data(atom.aval))
    carry = operands[fixed : fixed + carried]
    outputs = _rounds(body, operands[:fixed], carry, slices, found)
    return [
        value._replace(axis=value.axis + 1)
        if number >= carried and value.axis is not None and value.axis != _UNKNOWN
        else value
        for number, value in enumerate(outputs)
    ]


def _while(equation: Any, operands: list[_Value], found: list[tuple[int, ...]]) -> list[_Value]:
    """Follow a loop that ends when its condition says so."""
    body = equation.params["body_jaxpr"].jaxpr
    carried = len(equation.outvars)
    fixed = len(body.invars) - carried
    constants, carry = operands[-carried - fixed : -carried], operands[-carried:]
    return _rounds(body, constants, carry, [], found)


def _rounds(
    body: Any,
    constants: list[_Value],
    carry: list[_Value],
    slices: list[_Value],
    found: list[tuple[int, ...]],
) -> list[_Value]:
    """Go through the body of a loop until what is known of its carry does not change any more."""
    while True:
        outputs = _follow(body, [*constants, *carry, *slices], found)
        joined = [_join(pair) for pair in zip(carry, outputs, strict=False)]
        if joined == carry:
            return outputs
        carry = joined


def _join(values: Sequence[_Value]) -> _Value:
    """What is known of an array that is one of several, or is made of all of them."""
    placed = [value for value in values if value.axis is not None]
    axes = {value.axis for value in placed}
    axis = None if not axes else axes.pop() if len(axes) == 1 else _UNKNOWN
    return _Value(
        axis,
        placed[0].source if placed else (),
        any(value.learned for value in values),
        next((value.pooled for value in values if value.pooled), None),
    )

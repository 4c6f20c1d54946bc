"""The layers of a model, read off its equations: where a parameter multiplies what comes in.

A layer is a product of a value that is no parameter with one that is nothing but a parameter, the
kernel: an axis moved, joined or added and the dtype changed at most. That is a dense layer of any
library, a contraction over several axes (attention), a convolution, or a function that was written
by hand. The convolution is the product of the kernel with patches of its input. If what comes out
meets a parameter again in a sum, before anything else does, that is the layer's bias.

    y_r = a_r W + b,    r = 1, ..., R the positions: of an image, a sequence, or one

`evaluate` goes through the equations with this in mind, gives the a_r of every layer, and adds an
offset to every y_r, so that derivatives by the offsets are the gradients at the layers' outputs.
What is left out is as telling: a parameter that scales (normalization), is looked up (embedding),
is computed with before it multiplies (weight normalization), has examples or groups of its own, or
goes into a loop or a function with a derivative of its own, as a whole stack of layers does.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Literal

from jaxopt_course._equations import is_call

_CALLS = ("checkpoint", "remat", "remat2", "closed_call")
"""Equations that compute what a jaxpr of theirs says; `jit` is another."""


class Layer(NamedTuple):
    """A kernel, its bias, and how they are matrix and vector.

    Attributes:
        kernel: Number of the leaf.
        inputs: Its axes that count what enters, in order,
        outputs: and those that count what leaves.
        bias: Number of the bias's leaf; None if there is none.
        order: The axes of the bias in the order of the outputs.
    """

    kernel: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    bias: int | None = None
    order: tuple[int, ...] = ()


class _Mark(NamedTuple):
    """What an array is made of, axis by axis.

    Attributes:
        leaf: Number of a leaf, if it is a parameter; None if it is what a layer gave.
        use: Number of the product that gave it.
        sizes: Of the axes of what it was,
        axes: and which of these are in each of its own; none where it is of size 1 or broadcast.
    """

    leaf: int | None
    use: int
    sizes: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]


class Evaluated(NamedTuple):
    """What `evaluate` returns.

    Attributes:
        outputs: What the equations give.
        inputs: Of every product with a kernel, in order, the values that enter it, shape (R, in).
        sizes: And how many leave it: shape (R, out).
        layers: The layer of every product; the same one several times where a kernel is shared.
            None where it is no layer after all.
    """

    outputs: list[Any]
    inputs: list[jax.Array]
    sizes: list[tuple[int, int]]
    layers: list[Layer | None]


class _Walk:
    """The products that were met so far, and what else leaves were used for."""

    def __init__(self, offsets: Sequence[jax.Array] | None) -> None:
        self.offsets = offsets
        self.inputs: list[jax.Array] = []
        self.sizes: list[tuple[int, int]] = []
        self.uses: list[Layer] = []
        self.free: list[int] = []
        self.otherwise: set[int] = set()

    def follow(self, jaxpr: Any, values: Sequence[Any], marks: Sequence[Any]) -> tuple[list, list]:
        """Go through equations; return what comes out and what is known of it."""
        atoms = [*jaxpr.constvars, *jaxpr.invars]
        known = dict(zip(atoms, zip(values, marks, strict=True), strict=True))
        atoms = [atom for equation in jaxpr.eqns for atom in equation.invars] + [*jaxpr.outvars]
        reads: dict[Any, int] = {}
        for atom in atoms:
            if not isinstance(atom, Literal):
                reads[atom] = reads.get(atom, 0) + 1

        def read(atom: Any) -> tuple[Any, _Mark | None]:
            if isinstance(atom, Literal):
                return atom.val, None
            value, mark = known[atom]
            # What is read twice meets its bias in one of two places.
            twice = mark is not None and mark.leaf is None and reads[atom] > 1
            return value, None if twice else mark

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            given = [value for value, _ in operands]
            results = self._apply(equation, given, [mark for _, mark in operands])
            known |= zip(equation.outvars, results, strict=True)
        found = [read(atom) for atom in jaxpr.outvars]
        return [value for value, _ in found], [mark for _, mark in found]

    def _apply(self, equation: Any, values: list[Any], marks: list[Any]) -> list[tuple]:
        """Compute an equation; return its results, each with what is known of it."""
        name = equation.primitive.name
        if any(marks) and (is_call(equation) or name in _CALLS):
            inner = equation.params["jaxpr" if "jaxpr" in equation.params else "call_jaxpr"]
            constants = list(getattr(inner, "consts", ()))
            inner = getattr(inner, "jaxpr", inner)
            both = [None] * len(constants) + marks
            return list(zip(*self.follow(inner, [*constants, *values], both), strict=True))
        leaves = [mark is not None and mark.leaf is not None for mark in marks]
        if name in ("dot_general", "conv_general_dilated") and sum(leaves) == 1:
            product = _as_product(equation, values, marks, leaves.index(True))
            if product is not None:
                return [self._multiply(*product)]
        results = equation.primitive.bind(
            *values, **equation.primitive.get_bind_params(equation.params)
        )
        results = results if equation.primitive.multiple_results else [results]
        mark = None
        if name in ("add", "add_any") and sum(leaves) == 1 and all(marks):
            mark = self._add_bias(*sorted(marks, key=lambda mark: mark.leaf is None))
        elif len(marks) == 1 and marks[0] is not None:
            mark = _moved(equation, marks[0])
        if mark is None:
            self.otherwise |= {mark.leaf for mark in marks if mark is not None} - {None}
        elif mark is _TAKEN:
            mark = None
        return [(result, mark) for result in results]

    def _multiply(
        self, layer: Layer, inputs: jax.Array, output: jax.Array, shape: Any, order: Any
    ) -> tuple[jax.Array, _Mark]:
        """Note a product; return its result, with the offset, and the mark of it."""
        number = len(self.uses)
        self.uses.append(layer)
        self.inputs.append(inputs)
        # `shape` has the positions' axes and the outputs'; `order` makes of both the result's.
        around, outputs = shape
        sizes = (*around, *outputs)
        self.sizes.append((math.prod(around), math.prod(outputs)))
        self.free.append(len(outputs))
        if self.offsets is not None:
            offset = self.offsets[number].astype(output.dtype)
            output = output + offset.reshape(sizes).transpose(order)
        # In the mark the outputs' axes are counted first, then those of the positions.
        names = [*range(len(outputs), len(sizes)), *range(len(outputs))]
        axes = tuple((names[axis],) if sizes[axis] != 1 else () for axis in order)
        return output, _Mark(None, number, (*outputs, *around), axes)

    def _add_bias(self, bias: _Mark, product: _Mark) -> Any:
        """Give the layer of a product its bias, if the parameter has one number an output."""
        layer = self.uses[product.use]
        outputs = self.free[product.use]
        met: list[int] = []
        order: list[int] = []
        # A number needs no axes to be added.
        rank = max(len(bias.axes), len(product.axes))
        aligned = [mark.axes or ((),) * rank for mark in (bias, product)]
        for own, axes in zip(*aligned, strict=True):
            if not own:
                continue
            sizes = [
                math.prod(mark.sizes[i] for i in part)
                for mark, part in ((bias, own), (product, axes))
            ]
            if sizes[0] != sizes[1] or any(axis >= outputs for axis in axes):
                return None
            met += axes
            order += own
        wide = [axis for axis in range(outputs) if product.sizes[axis] != 1]
        if [axis for axis in met if product.sizes[axis] != 1] != wide or layer.bias is not None:
            return None
        order += [axis for axis in range(len(bias.sizes)) if axis not in order]
        self.uses[product.use] = layer._replace(bias=bias.leaf, order=tuple(order))
        return _TAKEN

    def layers(self) -> list[Layer | None]:
        """The layer of every product, once all of them are known."""
        found: list[Layer | None] = []
        for use in self.uses:
            own = [other for other in self.uses if other.kernel == use.kernel]
            alike = all(one[:3] == use[:3] for one in own) and use.kernel not in self.otherwise
            # A bias is the kernel's if it is added wherever that multiplies, each time with its
            # axes in the same order, and nowhere else.
            with_bias = [other for other in self.uses if other.bias == use.bias]
            kept = with_bias == own and use.bias not in self.otherwise
            kept = kept and all(one.order == use.order for one in own)
            layer = use if kept else use._replace(bias=None, order=())
            found.append(layer if alike else None)
        return found


_TAKEN = object()
"""In place of a mark: the parameter has found its layer."""


def evaluate(
    jaxpr: Any, constants: Sequence[Any], leaves: Sequence[Any], offsets: Any = None
) -> Evaluated:
    """Evaluate equations, with an offset at the output of every product with a kernel.

    Args:
        jaxpr: The equations, whose last inputs are the parameters.
        constants: Values of its constants and of its other inputs.
        leaves: The parameters.
        offsets: Arrays of the shapes `sizes`; None for none.

    Example:
        >>> jaxpr = jax.make_jaxpr(lambda x, p: jnp.tanh(x @ p["w"] + p["b"][None]))(
        ...     jnp.ones((5, 3)), {"b": jnp.ones(2), "w": jnp.ones((3, 2))}).jaxpr
        >>> found = evaluate(jaxpr, [jnp.ones((5, 3))], [jnp.ones(2), jnp.ones((3, 2))])
        >>> found.layers
        [Layer(kernel=1, inputs=(0,), outputs=(1,), bias=0, order=(0,))]
    """
    walk = _Walk(offsets)
    marks = [
        _Mark(
            number,
            -1,
            jnp.shape(leaf),
            tuple((axis,) if size != 1 else () for axis, size in enumerate(jnp.shape(leaf))),
        )
        for number, leaf in enumerate(leaves)
    ]
    outputs, left = walk.follow(jaxpr, [*constants, *leaves], [*[None] * len(constants), *marks])
    walk.otherwise |= {mark.leaf for mark in left if mark is not None} - {None}
    return Evaluated(outputs, walk.inputs, walk.sizes, walk.layers())


def as_matrix(layer: Layer, leaves: Sequence[jax.Array]) -> jax.Array:
    """Kernel and bias as one matrix, shape (in, out), or (in + 1, out) with the bias last."""
    kernel = leaves[layer.kernel]
    rows = _order(layer, kernel.ndim)
    width = math.prod(kernel.shape[axis] for axis in layer.outputs)
    matrix = kernel.transpose(rows).reshape(-1, width)
    if layer.bias is None:
        return matrix
    bias = leaves[layer.bias].transpose(layer.order).reshape(1, width)
    return jnp.concatenate([matrix, bias])


def from_matrix(
    layer: Layer, matrix: jax.Array, shapes: Sequence[tuple[int, ...]]
) -> dict[int, jax.Array]:
    """What `as_matrix` has joined, by the numbers of the leaves."""

    def unpacked(part: jax.Array, shape: tuple[int, ...], order: tuple[int, ...]) -> jax.Array:
        back = tuple(int(axis) for axis in np.argsort(order))
        return part.reshape([shape[axis] for axis in order]).transpose(back)

    shape = shapes[layer.kernel]
    rows = matrix if layer.bias is None else matrix[:-1]
    found = {layer.kernel: unpacked(rows, shape, _order(layer, len(shape)))}
    if layer.bias is not None:
        found[layer.bias] = unpacked(matrix[-1], shapes[layer.bias], layer.order)
    return found


def _order(layer: Layer, rank: int) -> tuple[int, ...]:
    """All axes of a kernel: inputs, axes of size 1 that belong to neither, outputs."""
    rest = [axis for axis in range(rank) if axis not in (*layer.inputs, *layer.outputs)]
    return (*layer.inputs, *rest, *layer.outputs)


def _as_product(
    equation: Any, values: list[Any], marks: list[Any], side: int
) -> tuple[Layer, jax.Array, jax.Array, Any, Any] | None:
    """A product with a parameter as a layer's: what `_Walk._multiply` takes; None if it is none."""
    mark, parameters = marks[side], equation.params
    shape = jnp.shape(values[side])
    if math.prod(shape) != math.prod(mark.sizes):  # Broadcast: each copy is another weight.
        return None
    other = values[1 - side]
    output_shape = equation.outvars[0].aval.shape
    if equation.primitive.name == "dot_general":
        contracted, batch = parameters["dimension_numbers"]
        if batch[0]:
            return None
        summed, entering = contracted[side], contracted[1 - side]
        free = [axis for axis in range(len(shape)) if axis not in summed]
        positions = [axis for axis in range(other.ndim) if axis not in entering]
        rows = other.transpose(*positions, *entering)
        around = [other.shape[axis] for axis in positions]
        # The result has the axes of the left operand first.
        order = [*range(len(output_shape))]
        if side == 0:
            order = order[len(around) :] + order[: len(around)]
    else:
        numbers = parameters["dimension_numbers"]
        groups = (parameters["feature_group_count"], parameters["batch_group_count"])
        if side == 0 or groups != (1, 1):
            return None
        free, *summed = (numbers.rhs_spec[0], *numbers.rhs_spec[1:])
        free = [free]
        # Patches have the features' axis split into those of the input, then the window's.
        patches = lax.conv_general_dilated_patches(
            other,
            [shape[axis] for axis in numbers.rhs_spec[2:]],
            parameters["window_strides"],
            parameters["padding"],
            parameters["lhs_dilation"],
            parameters["rhs_dilation"],
            numbers,
            lax.Precision.HIGHEST,
        )
        batch_axis, feature_axis, *window = numbers.out_spec
        rows = patches.transpose(batch_axis, *window, feature_axis)
        around = [output_shape[axis] for axis in (batch_axis, *window)]
        order = [int(axis) for axis in np.argsort((batch_axis, *window, feature_axis))]
    inputs = tuple(axis for place in summed for axis in mark.axes[place])
    outputs = tuple(axis for place in free for axis in mark.axes[place])
    sizes = (around, [shape[axis] for axis in free])
    entering = math.prod(shape[axis] for axis in summed)
    layer = Layer(mark.leaf, inputs, outputs)
    output = equation.primitive.bind(*values, **equation.primitive.get_bind_params(parameters))
    return layer, rows.reshape(math.prod(around), entering), output, sizes, order


def _moved(equation: Any, mark: _Mark) -> _Mark | None:
    """What is known of an array after an operation that moves, joins or adds axes, if it does."""
    name, parameters = equation.primitive.name, equation.params
    shape = getattr(equation.outvars[0].aval, "shape", ())
    if name in ("convert_element_type", "copy", "copy_p"):
        floating = jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating)
        return mark if floating else None
    if name == "transpose":
        return mark._replace(axes=tuple(mark.axes[axis] for axis in parameters["permutation"]))
    if name == "broadcast_in_dim":
        places = parameters["broadcast_dimensions"]
        axes: list[tuple[int, ...]] = [()] * len(shape)
        for place, own in zip(places, mark.axes, strict=True):
            axes[place] = own
        return mark._replace(axes=tuple(axes))
    if name not in ("reshape", "squeeze") or (name == "reshape" and parameters["dimensions"]):
        return None
    # The old axes in order, shared out over the new ones.
    rest = [axis for own in mark.axes for axis in own if mark.sizes[axis] != 1]
    joined: list[tuple[int, ...]] = []
    for size in shape:
        taken: list[int] = []
        while rest and math.prod(mark.sizes[axis] for axis in taken) < size:
            taken.append(rest.pop(0))
        if math.prod(mark.sizes[axis] for axis in taken) != size:
            return None  # An axis is split, or one that was broadcast is joined with another.
        joined.append(tuple(taken))
    return mark._replace(axes=tuple(joined))

r"""Signals through the depth of a network: what its modules give, and the loss's gradients there.

For the output y_l of module l and the loss L of an example

    delta_l = dL / dy_l,    size(y) = sqrt(mean over examples and units of y^2)

Sizes that grow or shrink with every layer are what initializations are chosen against: Glorot and
Bengio look at the variances of both, He et al. keep one of the two constant under ReLU, and Poole
et al. follow the squared size (their q^l) to its fixed point in random deep networks.

`delta_l` is the gradient with respect to an offset of zeros that is added to y_l.

Glorot and Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html, section 4.2; He et al.
(2015), https://arxiv.org/abs/1502.01852, section 2.2; Poole et al. (2016),
https://arxiv.org/abs/1606.05340, section 2.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import get_opaque_trace_state

from jaxopt_course._checks import check_callable, check_flag
from jaxopt_course._reading import LISTED, Reading, how_many, number, readable
from jaxopt_course.nn._arguments import check_module
from jaxopt_course.nn._functional_view import functional_view


@readable
@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("outputs", "gradients", "output_sizes", "gradient_sizes"),
    meta_fields=("paths",),
)
@dataclasses.dataclass(frozen=True)
class Signals:
    """What went through the modules of a network, in the order in which their calls ended.

    A pytree of its arrays, so that functions under `jit` and `vmap` may return it.

    Attributes:
        paths: Where the modules are in the model, such as `"blocks/0/layer"`; the model itself is
            `""`. The second call of a module is its path and `#2`.
        outputs: What each gave.
        gradients: Of the summed losses with respect to each output, shapes as in `outputs`.
        output_sizes: Root mean squares of the outputs, shape `(modules,)`, at least float32.
        gradient_sizes: Those of the gradients, likewise.
    """

    paths: tuple[str, ...]
    outputs: tuple[jax.Array, ...]
    gradients: tuple[jax.Array, ...]
    output_sizes: jax.Array
    gradient_sizes: jax.Array

    def _reading(self) -> Reading | None:
        """The sizes of outputs and gradients, module by module."""
        if np.ndim(self.output_sizes) != 1:
            return None
        shown = list(range(len(self.paths)))
        if len(shown) > 2 * LISTED:
            shown = [*shown[:LISTED], *shown[-LISTED:]]
        rows = [
            (
                self.paths[i] or "the model",
                f"output {number(self.output_sizes[i])}, gradient {number(self.gradient_sizes[i])}",
            )
            for i in shown
        ]
        if len(shown) < len(self.paths):
            rows.insert(LISTED, ("...", f"{len(self.paths) - len(shown)} more"))
        modules = how_many(len(self.paths), "module")
        return Reading(f"root mean squares through {modules}", rows)


def signals(
    model: nnx.Module,
    *inputs: Any,
    loss: Callable[[Any], jax.Array],
    train: bool = True,
    module_filter: Callable[[nnx.Module], bool] | None = None,
) -> Signals:
    """The outputs of a network's modules and the gradients of the loss there, with their sizes.

    The losses are summed, not averaged, so that a gradient is that of its example's own loss,
    whatever the number of examples (but for batch normalization, which couples them).

    The model is left as it is. Only calls of modules as functions are seen, and only outputs that
    are one array of real floating numbers. Modules that the model calls within a transformation of
    its own (`nnx.scan`, `nnx.remat`) must be left out by `module_filter`.

    Args:
        model: Any nnx module.
        *inputs: What to call it with.
        loss: Function of the model's outputs to the loss of every example, or to one number.
        train: Whether normalizations use the batch's statistics and dropout drops.
        module_filter: Which modules to look at, a function of module to bool; None for all.

    Returns:
        The signals.

    Raises:
        TypeError: If an argument is not what is described, or the losses are not real.
        ValueError: If the model calls no module that was asked for, or one within a
            transformation.

    Example:
        >>> from jaxopt_course import nn, training
        >>> x, labels = jax.random.normal(jax.random.key(0), (50, 64)), jnp.arange(50) % 10
        >>> def sizes(key):
        ...     model = nn.MLP((64, *[64] * 20, 10), activation=jnp.tanh, rngs=nnx.Rngs(key))
        ...     loss = lambda outputs: training.cross_entropy(outputs, labels)
        ...     layers = lambda module: isinstance(module, nnx.Linear)
        ...     return signals(model, x, loss=loss, module_filter=layers).gradient_sizes
        >>> jax.vmap(sizes)(jax.random.split(jax.random.key(1), 3)).shape  # seeds, layers
        (3, 21)

    Reference:
        Glorot and Bengio (2010), section 4.2; Poole et al. (2016), section 2.
    """
    check_module(model)
    check_callable(loss=loss)
    check_callable(module_filter=module_filter, optional=True)
    check_flag(train=train)
    apply, *variables = functional_view(model)
    told = {name: in_training == train for name, in_training in apply.mode}
    paths: list[str] = []

    def total_loss(offsets):
        # A copy, because the module's variables are written to while it runs.
        copied = jax.tree.map(lambda leaf: leaf, variables)
        copy = nnx.merge(apply.train_graph if train else apply.eval_graph, *copied)
        outputs: list[jax.Array] = []
        paths.clear()
        outside = get_opaque_trace_state()

        def look(path, output):
            if not (isinstance(output, jax.Array) and jnp.issubdtype(output.dtype, jnp.floating)):
                return output
            if get_opaque_trace_state() != outside:
                raise ValueError(
                    "module_filter must leave out the modules that the model calls within a "
                    f"transformation of its own, took {path!r}"
                )
            if offsets is not None:
                output = output + offsets[len(outputs)]
            outputs.append(output)
            paths.append(path)
            return output

        for path, module in nnx.iter_modules(copy):
            if callable(module) and (module_filter is None or module_filter(module)):
                _observe(module, functools.partial(look, "/".join(map(str, path))))
        losses = jnp.asarray(loss(copy(*inputs, **told)))
        if not jnp.issubdtype(losses.dtype, jnp.floating):
            raise TypeError(f"loss must give real floating numbers, got {losses.dtype}")
        return losses.sum(), tuple(outputs)

    shapes = jax.eval_shape(lambda: total_loss(None)[1])
    if not shapes:
        raise ValueError(
            "model must call at least one module that module_filter takes and that gives an array, "
            "called none"
        )
    offsets = tuple(jnp.zeros(shape.shape, shape.dtype) for shape in shapes)
    gradients, outputs = jax.grad(total_loss, has_aux=True)(offsets)
    sizes = [jnp.stack([_size(x) for x in of_all]) for of_all in (outputs, gradients)]
    return Signals(_numbered(paths), outputs, gradients, *sizes)


def _size(x: jax.Array) -> jax.Array:
    """The root mean square, of numbers whose squares are out of range, too."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))
    scale = jnp.where(largest > 0, largest, 1)
    return scale * jnp.sqrt(jnp.mean((x / scale) ** 2))


def _numbered(paths: list[str]) -> tuple[str, ...]:
    """The paths, with the number of the call from the second call on."""
    return tuple(
        path if (earlier := paths[:index].count(path)) == 0 else f"{path}#{earlier + 1}"
        for index, path in enumerate(paths)
    )


def _observe(module: nnx.Module, look: Callable[[Any], Any]) -> None:
    """Make each call of `module` give `look(output)` in place of its output."""
    vars(module)["_look"] = look
    object.__setattr__(module, "__class__", _observed(type(module)))


@functools.cache
def _observed(kind: type) -> type:
    """A class like `kind`: calls look at the class, not at the instance."""

    class Observed(kind):
        def __call__(self, *args, **kwargs):
            return vars(self)["_look"](super().__call__(*args, **kwargs))

    return Observed

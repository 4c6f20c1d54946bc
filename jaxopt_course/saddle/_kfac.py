r"""Kronecker factors of the Fisher information, layer by layer (K-FAC).

A layer that multiplies by a matrix, y = a W, with the bias as a further row of W and a further 1 in
a, has the gradient a g^T of an example's log-likelihood, g that with respect to y. Its block of the
Fisher information is a mean of Kronecker products, and K-FAC takes for it a product of means:

    F = E[(a a^T) (x) (g g^T)]  ~  A (x) G,    A = E[a a^T],  G = E[g g^T],
    (A (x) G) vec V = vec(A V G),    V a matrix of the shape of W.

The expectation is over examples and over labels of the model's own distribution. Equal are the two
for one example, and where g does not depend on the example: in deep linear networks with Gaussian
outputs (Bernacchia, Lengyel and Hennequin 2018). Blocks between layers are taken to be zero.

Where a layer is applied at R positions of each example, a row y_r = a_r W of each (the pixels of a
convolution, the words of a sentence), there are two ways (Eschenhagen et al. 2023):

    expand    A = E[1/R sum_r a_r a_r^T],  G = E[sum_r g_r g_r^T]     positions are like examples;
    reduce    A = E[m m^T],  G = E[s s^T],  m = 1/R sum_r a_r, s = sum_r g_r.

Expand is the approximation of Grosse and Martens (2016) for convolutions; in linear networks it is
exact if each position has an output of its own, and reduce if the outputs are a mean over all.

Heskes (2000), https://doi.org/10.1162/089976600300015420; Martens and Grosse (2015),
https://arxiv.org/abs/1503.05671; Grosse and Martens (2016), https://arxiv.org/abs/1602.01407;
Bernacchia, Lengyel and Hennequin (2018), "Exact natural gradient in deep linear networks and its
application to the nonlinear case"; Eschenhagen, Immer, Turner, Schneider and Hennig (2023),
https://arxiv.org/abs/2311.00636.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov, _loops
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_flag,
    check_key,
    check_not_empty,
    check_one_of,
    check_positive,
    check_real_floating,
)
from jaxopt_course._reading import LISTED, Reading, how_many, number, readable
from jaxopt_course._streams import stream
from jaxopt_course.saddle._kronecker import Asked, drawn_scores, every_score, factors, own_score
from jaxopt_course.saddle._layers import Layer, as_matrix, from_matrix
from jaxopt_course.saddle._objectives import num_examples
from jaxopt_course.saddle._stochastic import Estimate

_FAMILIES = ("categorical", "bernoulli", "gaussian")


@readable
@flax.struct.dataclass
class KroneckerBlock:
    """The factors of one layer; its block of the matrix is `inputs (x) outputs`.

    Attributes:
        inputs: A, shape (in, in), or (in + 1, in + 1) with a bias, whose row is the last.
        outputs: G, shape (out, out).
        kernel: Path of the layer's kernel in the parameters, keys joined by slashes.
        bias: That of its bias; None if it has none, or one that has no block.
        layer: How the two are a matrix.
    """

    inputs: jax.Array
    outputs: jax.Array
    kernel: str = flax.struct.field(pytree_node=False)
    bias: str | None = flax.struct.field(pytree_node=False)
    layer: Layer = flax.struct.field(pytree_node=False)

    def _reading(self) -> Reading | None:
        """The layer, with the sizes of its factors."""
        if np.ndim(self.inputs) != 2:
            return None
        name = f"{self.kernel} and {self.bias}" if self.bias else self.kernel
        return Reading(f"block of {name}", [("factors", self._factors())])

    def _factors(self) -> str:
        sizes = [len(factor) for factor in (self.inputs, self.outputs)]
        trace = np.trace(self.inputs) * np.trace(self.outputs)
        return f"{sizes[0]} x {sizes[0]} and {sizes[1]} x {sizes[1]}, trace {number(trace)}"


@readable
@flax.struct.dataclass
class KroneckerBlocks:
    """Kronecker factors of all layers: a block-diagonal matrix.

    Attributes:
        blocks: One `KroneckerBlock` a layer, in the order in which an example meets them.
        left_out: Paths of the parameters that no block has; their rows and columns are zero.
        paths: Paths of all parameters,
        shapes: and their shapes.
    """

    blocks: tuple[KroneckerBlock, ...]
    left_out: tuple[str, ...] = flax.struct.field(pytree_node=False)
    paths: tuple[str, ...] = flax.struct.field(pytree_node=False)
    shapes: tuple[tuple[int, ...], ...] = flax.struct.field(pytree_node=False)

    def _reading(self) -> Reading | None:
        """The layers, and what has no block."""
        if any(np.ndim(block.inputs) != 2 for block in self.blocks):
            return None
        sizes = [len(block.inputs) * len(block.outputs) for block in self.blocks]
        total = sum(int(np.prod(shape)) for shape in self.shapes)
        rows = [(block.kernel, block._factors()) for block in self.blocks[:LISTED]]
        if len(self.blocks) > LISTED:
            rows.append(("...", f"{len(self.blocks) - LISTED} more"))
        if self.left_out:
            shown = ", ".join(self.left_out[:LISTED])
            rest = len(self.left_out) - LISTED
            rows.append(("left out", f"{shown} and {rest} more" if rest > 0 else shown))
        layers = how_many(len(self.blocks), "Kronecker block")
        return Reading(f"{layers} for {sum(sizes):,} of {total:,} parameters", rows)


def kfac_blocks(
    model: Callable[[Any, Any], jax.Array],
    params: chex.ArrayTree,
    inputs: chex.ArrayTree,
    *,
    family: Literal["categorical", "bernoulli", "gaussian"] = "categorical",
    num_samples: int | None = None,
    key: jax.Array | None = None,
    sharing: Literal["expand", "reduce"] = "expand",
    batch_size: int | None = None,
) -> KroneckerBlocks:
    """The Kronecker factors of the Fisher information of a model, for every layer that has them.

    Layers are found in the equations of the model, whatever library it is written with: wherever a
    parameter, as it is, multiplies what is none (dense layers, projections of attention,
    convolutions without groups), with a bias if one is added next. Parameters that scale
    (normalization), are looked up (embedding) or multiply within a loop or a function with a
    derivative of its own have no block: `left_out` names them. A parameter that multiplies several
    times is one layer at several positions.

    Args:
        model: From parameters and inputs to outputs, as for `fisher_product`, the examples along
            the first axis. It is traced with one example, and must treat each on its own: evaluate
            batch normalization by running averages. (The first and the last example are compared
            among all and alone, where the arrays are known and all are taken at once.)
        params: The parameters.
        inputs: Pytree of arrays with the examples along the first axis, which may be sharded.
        family: The distribution of which the outputs are the natural parameters: logits of classes
            along the last axis, logits, or means at variance 1.
        num_samples: How many labels to draw for each example. By default the expectation over
            labels is taken exactly, which costs a backward pass for each number that the model
            gives for an example, however many classes that are.
        key: Typed key to draw them with.
        sharing: What to do where a layer is applied at several positions; see the formulas above.
        batch_size: Examples at a time; all of them by default.

    Returns:
        The factors, in the dtype of the parameters, float32 at least. `kfac_product`, `kfac_solve`
        and `kfac_error` take them.

    Raises:
        TypeError: if `model` does not return a real array, a parameter is not real floating, or
            there is a `key` and no `num_samples` or the other way round.
        ValueError: if no parameter is a kernel, the arrays disagree about the examples, one example
            depends on another, or an argument is out of range.

    Example:
        >>> model = lambda params, x: x @ params["kernel"] + params["bias"][None]
        >>> params = {"bias": jnp.zeros(2), "kernel": jnp.zeros((3, 2))}
        >>> (block,) = kfac_blocks(model, params, jnp.ones((5, 3))).blocks
        >>> block.kernel, block.bias, block.inputs.shape
        ('kernel', 'bias', (4, 4))
        >>> print(block.outputs.round(3))
        [[ 0.25 -0.25]
         [-0.25  0.25]]

    Reference:
        Martens and Grosse (2015), section 3; Eschenhagen et al. (2023).
    """
    check_one_of(_FAMILIES, family=family)
    check_count(num_samples=num_samples, optional=True)
    check_key(key=key, optional=True)
    if num_samples is None and key is None:
        scores = partial(every_score, family)
    elif num_samples is not None and key is not None:
        scores, key = partial(drawn_scores, family, num_samples), stream(key, "labels")
    else:
        alone = "num_samples" if key is None else "key"
        raise TypeError(f"num_samples and key must be given together, got {alone} alone")
    least = 2 if family == "categorical" else 1
    asked = Asked("model", "inputs", least, None, scores, sharing, batch_size)
    return _blocks(model, params, inputs, asked, key)


def empirical_kfac_blocks(
    losses: Callable[[Any, Any], jax.Array],
    params: chex.ArrayTree,
    data: chex.ArrayTree,
    *,
    sharing: Literal["expand", "reduce"] = "expand",
    batch_size: int | None = None,
) -> KroneckerBlocks:
    """The Kronecker factors of the empirical Fisher matrix: of gradients at the examples' labels.

    With g the gradient of an example's own loss; of one example the blocks are exact. What the
    matrix is not, `empirical_fisher_product` says.

    Args:
        losses: From parameters and data to the losses of the examples, shape `(N,)`; as `model` of
            `kfac_blocks` in all else. A penalty of the weights belongs to no layer: leave it out.
        params: The parameters.
        data: Pytree of arrays with the examples along the first axis.
        sharing: As for `kfac_blocks`.
        batch_size: As for `kfac_blocks`.

    Returns:
        The factors, as those of `kfac_blocks`.

    Raises:
        TypeError, ValueError: as `kfac_blocks`.

    Example:
        >>> losses = lambda w, x: (x @ w) ** 2 / 2
        >>> (block,) = empirical_kfac_blocks(losses, jnp.ones(2), jnp.array([[1.0, 2.0]])).blocks
        >>> block.inputs.tolist(), block.outputs.tolist()
        ([[1.0, 2.0], [2.0, 4.0]], [[9.0]])

    Reference:
        Kunstner, Balles and Hennig (2019), https://arxiv.org/abs/1905.12558.
    """
    asked = Asked("losses", "data", 1, 1, own_score, sharing, batch_size)
    return _blocks(losses, params, data, asked, None)


def kfac_product(blocks: KroneckerBlocks, v: chex.ArrayTree) -> chex.ArrayTree:
    """The product of a matrix of Kronecker blocks with `v`: A V G in each layer.

    Args:
        blocks: The factors.
        v: A pytree with the structure and shapes of the parameters.

    Returns:
        The product, a pytree like `v`; zero for parameters without block.

    Raises:
        TypeError: if `v` is not real floating.
        ValueError: if it is not like the parameters.

    Example:
        >>> blocks = kfac_blocks(lambda w, x: x @ w, jnp.zeros((3, 2)), jnp.ones((5, 3)))
        >>> print(kfac_product(blocks, jnp.ones((3, 2)).at[0, 0].set(3.0))[0].round(3))
        [ 0.5 -0.5]
    """
    return _by_layer(
        blocks,
        v,
        lambda block, matrix: _matmul(block.inputs, _matmul(matrix, block.outputs)),
        jnp.zeros_like,
    )


def kfac_solve(
    blocks: KroneckerBlocks, v: chex.ArrayTree, *, damping: chex.Numeric
) -> chex.ArrayTree:
    """The solution u of `(B + damping I) u = v`, with B the matrix of Kronecker blocks.

    By the eigenvalues of both factors, and thus exactly, not by damping each factor:
    U = Q_A ((Q_A^T V Q_G) / (l_A l_G^T + damping)) Q_G^T.

    Args:
        blocks: The factors.
        v: A pytree with the structure and shapes of the parameters, such as a gradient: the
            solution is then that of natural gradient descent.
        damping: What is added to the diagonal, > 0.

    Returns:
        The solution, a pytree like `v`; `v / damping` for parameters without block.

    Raises:
        TypeError: if `v` is not real floating.
        ValueError: if it is not like the parameters, or `damping` is not positive.

    Example:
        >>> blocks = kfac_blocks(lambda w, x: x @ w, jnp.zeros((3, 2)), jnp.ones((5, 3)))
        >>> v = jnp.arange(6.0).reshape(3, 2)
        >>> u = kfac_solve(blocks, v, damping=0.1)
        >>> bool(jnp.allclose(kfac_product(blocks, u) + 0.1 * u, v, atol=1e-5))
        True

    Reference:
        Martens and Grosse (2015), who damp each factor instead.
    """
    check_positive(damping=damping)

    def solved(block: KroneckerBlock, matrix: jax.Array) -> jax.Array:
        # Rounding makes eigenvalues negative that are zero.
        (a, of_inputs), (g, of_outputs) = (
            jnp.linalg.eigh(factor) for factor in (block.inputs, block.outputs)
        )
        eigenvalues = jnp.maximum(a, 0)[:, None] * jnp.maximum(g, 0)[None] + damping
        turned = _matmul(of_inputs.T, _matmul(matrix, of_outputs)) / eigenvalues
        return _matmul(of_inputs, _matmul(turned, of_outputs.T))

    return _by_layer(blocks, v, solved, lambda leaf: leaf / damping)


def kfac_error(
    blocks: KroneckerBlocks,
    product: Callable[[Any], Any],
    params: chex.ArrayTree,
    *,
    num_probes: int,
    key: jax.Array,
    whole: bool = False,
) -> Estimate:
    """How far Kronecker blocks are from the matrix that they stand for, in the Frobenius norm.

    For each layer, with F its block of that matrix,

        |F - A (x) G| / |F|,    |M|^2 = E |M z|^2 for random signs z,

    both norms estimated from the same products, and the standard error of the ratio by the delta
    method. Ratios of estimates are biased by about the square of that error.

    Args:
        blocks: The factors.
        product: The matrix as a map `v -> F v` on pytrees like the parameters:
            `lambda v: saddle.fisher_product(lambda p: model(p, inputs), params, v)`.
        params: The parameters; their structure and dtypes are looked at.
        num_probes: Random vectors for every layer, two at least.
        key: Typed PRNG key.
        whole: Whether to compare the whole matrices, with what is between layers and parameters
            without block, instead of layer by layer.

    Returns:
        The estimate, `value` and `standard_error` of shape `(layers,)`, in the order of
        `blocks.blocks`, or scalars for the whole.

    Raises:
        TypeError: if `product` does not return a pytree like the parameters, or `key` is no key.
        ValueError: if `params` is not what the blocks are of, or `num_probes` is less than 2.

    Example:
        >>> model, w, x = lambda w, x: x @ w, jnp.zeros((3, 2)), jnp.ones((1, 3))
        >>> blocks = kfac_blocks(model, w, x)  # Of one example: exact.
        >>> from jaxopt_course.saddle import fisher_product
        >>> error = kfac_error(blocks, lambda v: fisher_product(lambda w: model(w, x), w, v), w,
        ...                    num_probes=2, key=jax.random.key(0))
        >>> bool(error.value[0] < 1e-6)
        True
    """
    check_callable(product=product)
    check_count(num_probes=num_probes)
    check_flag(whole=whole)
    check_key(key=key)
    if num_probes < 2:
        raise ValueError(f"num_probes must be at least 2 for a standard error, got {num_probes}")
    check_real_floating("params", params)
    leaves = _leaves("params", blocks, params)
    params = jax.tree.map(jnp.asarray, params)
    wide = _krylov.half_widened(params)
    tree = jax.tree.structure(params)
    out = jax.eval_shape(product, params)
    if jax.tree.map(jnp.shape, out) != jax.tree.map(jnp.shape, params):
        raise TypeError(f"product must return a pytree like params, got {out}")
    # Which leaves a probe of each layer fills.
    own = [{block.kernel, block.bias} for block in blocks.blocks]
    filled = [[path in paths for path in blocks.paths] for paths in own]
    masks = jnp.asarray([[True] * len(leaves)] if whole else filled)

    def probe(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        mask, own_key = masks[number // num_probes], jax.random.fold_in(probes, number)
        keys = jax.random.split(own_key, len(leaves))
        signs = [
            jnp.where(mask[i], jax.random.rademacher(keys[i], leaf.shape, leaf.dtype), 0)
            for i, leaf in enumerate(jax.tree.leaves(wide))
        ]
        z = jax.tree.unflatten(tree, signs)
        true = jax.tree.leaves(_krylov.half_widened(product(_krylov.rounded_like(z, params))))
        true = [jnp.where(mask[i], leaf, 0) for i, leaf in enumerate(true)]
        approximate = jax.tree.leaves(kfac_product(blocks, z))
        apart = [one - other for one, other in zip(true, approximate, strict=True)]
        return _square(apart), _square(true)

    probes = stream(key, "kfac")
    count = len(masks) * num_probes
    apart, true = (x.reshape(-1, num_probes) for x in _loops.map(probe, jnp.arange(count)))
    value, error = jax.vmap(_root_of_ratio)(apart, true)
    if whole:
        value, error = value[0], error[0]
    finite = jnp.all(jnp.isfinite(apart)) & jnp.all(jnp.isfinite(true))
    return Estimate(value, error, jnp.asarray(count), finite)


# The factors.


def _blocks(model: Any, params: Any, data: Any, asked: Asked, key: Any) -> KroneckerBlocks:
    """The factors for what a function gives."""
    # Everything is checked before anything is traced.
    check_callable(**{asked.name: model})
    check_not_empty("params", params)
    check_real_floating("params", params)
    check_one_of(("expand", "reduce"), sharing=asked.sharing)
    check_count(batch_size=asked.batch_size, optional=True)
    num_examples(data, asked.data_name)
    data = jax.tree.map(jnp.asarray, data)
    params = _krylov.half_widened(jax.tree.map(jnp.asarray, params))

    paths, leaves = _paths(params)
    found = factors(model, params, data, asked, key)
    if not found:
        raise ValueError(
            f"params must hold a kernel that multiplies in {asked.name}, got none among "
            f"{', '.join(paths) or 'nothing'}"
        )
    blocks = tuple(
        KroneckerBlock(
            inputs=inputs,
            outputs=outputs,
            kernel=paths[layer.kernel],
            bias=None if layer.bias is None else paths[layer.bias],
            layer=layer,
        )
        for layer, inputs, outputs in found
    )
    within = {path for block in blocks for path in (block.kernel, block.bias)}
    left_out = tuple(path for path in paths if path not in within)
    return KroneckerBlocks(blocks, left_out, paths, tuple(jnp.shape(leaf) for leaf in leaves))


# What is done with them.


def _paths(tree: Any) -> tuple[tuple[str, ...], list[Any]]:
    """The paths of the leaves, keys joined by slashes, and the leaves."""
    pairs = jax.tree.leaves_with_path(tree)
    named = (jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in pairs)
    return tuple(named), [leaf for _, leaf in pairs]


def _leaves(name: str, blocks: KroneckerBlocks, tree: Any) -> list[Any]:
    """The leaves of a tree, which must be like the parameters that the blocks are of."""
    if not isinstance(blocks, KroneckerBlocks):
        raise TypeError(f"blocks must be KroneckerBlocks, as of kfac_blocks, got {brief(blocks)}")
    check_real_floating(name, tree)
    paths, leaves = _paths(tree)
    if paths != blocks.paths:
        raise ValueError(
            f"{name} must have the structure of the parameters, with the leaves "
            f"{', '.join(blocks.paths)}, got {', '.join(paths) or 'none'}"
        )
    for path, leaf, shape in zip(paths, leaves, blocks.shapes, strict=True):
        if jnp.shape(leaf) != shape:
            raise ValueError(f"{name} must have shape {shape} at {path}, got {jnp.shape(leaf)}")
    return leaves


def _by_layer(
    blocks: KroneckerBlocks,
    v: Any,
    of_layer: Callable[[KroneckerBlock, jax.Array], jax.Array],
    of_rest: Callable[[jax.Array], jax.Array],
) -> Any:
    """Apply a function to the matrix of every layer, and another to leaves without block."""
    given = _leaves("v", blocks, v)
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(_krylov.half_widened(v))]
    found = {
        i: of_rest(leaf) for i, leaf in enumerate(leaves) if blocks.paths[i] in blocks.left_out
    }
    for block in blocks.blocks:
        matrix = of_layer(block, as_matrix(block.layer, leaves))
        found |= from_matrix(block.layer, matrix, blocks.shapes)
    product = [found[i].astype(jnp.result_type(leaf)) for i, leaf in enumerate(given)]
    return jax.tree.unflatten(jax.tree.structure(v), product)


def _matmul(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.matmul(one, other, precision="highest")


def _square(leaves: list[jax.Array]) -> jax.Array:
    return sum((jnp.sum(leaf**2) for leaf in leaves), jnp.zeros(()))


def _root_of_ratio(above: jax.Array, below: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The root of a ratio of means of paired samples, and its standard error."""
    means = jnp.mean(above), jnp.mean(below)
    some = (means[0] > 0) & (means[1] > 0)
    safe = [jnp.where(some, mean, 1) for mean in means]
    value = jnp.sqrt(safe[0] / safe[1])
    relative = above / safe[0] - below / safe[1]
    error = value / 2 * jnp.std(relative, ddof=1) / np.sqrt(len(above))
    # Nothing apart is no error, of nothing as well; something apart from nothing is infinite.
    none = jnp.where(means[0] > 0, jnp.inf, means[0])
    return jnp.where(some, value, none), jnp.where(some, error, jnp.zeros_like(error))

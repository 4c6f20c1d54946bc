"""One valid call of everything public, and what each of its arguments must not be.

`ARGUMENTS` says by name what an argument is: how a valid value is made, and which values are wrong
for it. `OWN` says where a function means something else by a name. From these and the signatures
`cases` derives every call with one wrong argument.
"""

import dataclasses
import decimal
import enum
import fractions
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import landscape, nn, problems, saddle, training, transforms
from tests.packages import PACKAGES

Draw = Callable[[np.random.Generator], Any]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an argument is meant to be.

    Attributes:
        make: Makes a valid value.
        wrong: Values that must be refused.
        draw: Draws another that must be refused.
        is_integer: Whether valid values are integers.
    """

    make: Callable[[], Any]
    wrong: tuple[Any, ...]
    draw: Draw
    is_integer: bool = False

    def but(self, *wrong: Any) -> "Kind":
        """The same with more values that are wrong."""
        return dataclasses.replace(self, wrong=(*self.wrong, *wrong))

    def valid(self, make: Callable[[], Any]) -> "Kind":
        """The same with another valid value."""
        return dataclasses.replace(self, make=make)


def drawn_from(*strategies: Draw) -> Draw:
    return lambda rng: strategies[rng.integers(len(strategies))](rng)


def text(rng):
    return "".join(rng.choice(list("abcxyz0123._- "), size=rng.integers(0, 9)))


def exact(rng):
    """A number that is no floating one."""
    pair = (int(rng.integers(-9, 9)), int(rng.integers(1, 9)))
    return (fractions.Fraction(*pair), decimal.Decimal(pair[0]) / pair[1])[rng.integers(2)]


def array(rng):
    """An array with axes, of NumPy or JAX."""
    shape = tuple(rng.integers(0, 4, size=rng.integers(1, 4)))
    dtype = ("float32", "int32", "bool", "complex64")[rng.integers(4)]
    return (np.zeros, jnp.zeros)[rng.integers(2)](shape, dtype)


def thing(rng):
    """What is neither number, text nor array."""
    things = (object(), {}, {"a": 1}, [], (), ..., b"a", complex(*rng.normal(size=2)), set())
    return things[rng.integers(len(things))]


def flag(rng):
    return bool(rng.integers(2))


def negative(rng):
    return -float(np.exp(rng.normal(scale=3)))


def whole(rng):
    return int(rng.integers(-99, 99))


def broken(rng):
    """A number between the integers."""
    return whole(rng) + float(rng.uniform(0.01, 0.99))


HALF = fractions.Fraction(1, 2)
CENT = decimal.Decimal("0.01")
NO_NUMBER = ("0.1", True, np.bool_(False), HALF, CENT, 1j, [0.1], (), {}, object(), b"1", ...)
ARRAYS = (np.ones(2), jnp.ones(3), np.ones((1, 1)))
NAN, INF = float("nan"), float("inf")


def flags(valid=True):
    wrong = ("no", 0, 1.0, None, np.ones(2), jnp.ones(2, bool), HALF, [], object())
    return Kind(lambda: valid, wrong, drawn_from(text, whole, negative, exact, array, thing))


def numbers(valid, *out_of_range, arrays=False, schedule=False):
    """A number; of `out_of_range` every value is beyond what the function takes."""
    wrong = (*NO_NUMBER, np.complex64(1), np.array("x"), 10**400, *out_of_range)
    wrong = (*wrong, jnp.ones(2, complex)) if arrays else (*wrong, *ARRAYS)
    wrong = wrong if schedule else (*wrong, lambda count: 0.1)
    draws = [text, exact, thing, flag]
    if not arrays:
        draws.append(array)
    if -1.0 in out_of_range:
        draws.append(negative)
    return Kind(lambda: valid, wrong, drawn_from(*draws))


def positive(valid=0.1, **options):
    return numbers(valid, -1.0, 0.0, NAN, -INF, **options)


def non_negative(valid=0.1, **options):
    return numbers(valid, -1.0, NAN, -INF, **options)


def shares(valid=0.5, **options):
    """A number in [0, 1)."""
    return numbers(valid, -1.0, 1.0, 5.0, NAN, INF, **options)


def integers(valid, *out_of_range):
    wrong = (*NO_NUMBER, *ARRAYS, 2.5, 2.0, NAN, INF, 2**40, np.float32(2), *out_of_range)
    draws = drawn_from(text, exact, thing, flag, array, broken, lambda rng: float(whole(rng)))
    return Kind(lambda: valid, wrong, draws, is_integer=True)


def counts(valid):
    return integers(valid, 0, -3, np.int64(-1))


def options(*names):
    wrong = ("", "nonsense", 3, 2.5, True, [names[0]], {}, np.array(["a", "b"]), b"a", 0.0)
    return Kind(lambda: names[0], wrong, drawn_from(text, broken, exact, thing, array))


def functions(valid):
    wrong = ("f", 3, 0.5, True, np.ones(2), [], {}, object(), HALF)
    return Kind(lambda: valid, wrong, drawn_from(text, whole, negative, exact, array, flag))


def keys(shape=()):
    def make():
        key = jax.random.key(0)
        return jax.random.split(key, shape) if shape else key

    wrong = (0, 1.5, "key", True, np.arange(2, dtype=np.uint32), [0, 1], jnp.zeros(2), HALF)
    wrong = (*wrong, jax.random.PRNGKey(0), object())
    return Kind(make, wrong, drawn_from(text, whole, negative, exact, array, thing))


def dtypes(valid=jnp.float32):
    wrong = ("nonsense", 3, 0.5, "int8", jnp.int32, True, "O", [], HALF, np.ones(2), object(), bool)
    return Kind(lambda: valid, wrong, drawn_from(text, whole, negative, exact, array))


def paths(valid):
    wrong = (3, b"folder", True, 0.5, [], object(), np.ones(2), HALF)
    return Kind(lambda: valid, wrong, drawn_from(whole, negative, exact, array, thing))


def sizes(valid, *wrong):
    wrong = ("ab", (2.5,), (None,), (True,), ("a",), (HALF,), 0.5, 1j, object(), *wrong)

    def draw(rng):
        return tuple(drawn_from(text, broken, exact, array, thing)(rng) for _ in range(2))

    return Kind(lambda: valid, wrong, draw)


def axes(valid):
    """An axis or several."""
    wrong = ("a", 1.5, True, (0.5,), ("a",), HALF, 1j, object())
    return Kind(lambda: valid, wrong, drawn_from(text, broken, exact, flag))


def lists(valid, *wrong):
    """A list of numbers, or an array of them."""
    wrong = ("abc", [None], ["a"], [1j], [True], [[1.0], [1.0, 2.0]], {"a": 1}, [HALF], *wrong)
    return Kind(lambda: valid, (*wrong, object(), True), drawn_from(text, thing, flag, exact))


def spectra(*valid):
    """Distinct positive numbers."""
    return lists(list(valid), [], [0.0, 1.0], [1.0, 1.0], [-1.0], [NAN], [INF], [[1.0, 2.0]])


def trees(make, *wrong):
    """A pytree of real floating arrays."""
    wrong = ("x", object(), jnp.ones(3, int), {"a": "b"}, jnp.ones(3, complex), HALF, True, *wrong)
    return Kind(make, wrong, drawn_from(text, exact, flag, lambda rng: jnp.ones(3, int)))


def instances(make, *wrong):
    wrong = (3, "a", True, [], lambda x: x, np.ones(2), object(), *wrong)
    return Kind(make, wrong, drawn_from(text, whole, negative, exact, array, thing))


def real_arrays(make, *wrong):
    """A real array, integers among them."""
    wrong = ("x", [1.0], object(), jnp.ones(3, complex), HALF, {"a": 1.0}, np.array(["a"]), *wrong)
    return Kind(make, wrong, drawn_from(text, exact, lambda rng: [1.0]))


def mappings(valid, *wrong):
    wrong = (3, "a", True, object(), [1], HALF, *wrong)
    return Kind(lambda: valid, wrong, drawn_from(text, whole, negative, exact, flag))


def devices():
    wrong = ("cpu", 3, ("cpu",), (), True, object(), [None], HALF)
    return Kind(lambda: tuple(jax.devices()[:1]), wrong, drawn_from(text, whole, exact, flag))


# Valid objects of the libraries' kinds.
def bowl(x):
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(x)]
    return sum((jnp.sum(x**4 / 4 - x**2 / 2) for x in leaves), start=jnp.zeros([], jnp.float32))


def means():
    """An objective of which gradients can be stochastic."""
    return saddle.mean_over_batches(lambda x, batch: bowl(x), jnp.ones((4, 2)), batch_size=2)


def sines(x):
    return jax.tree.map(jnp.sin, x)


def mlp():
    return nn.MLP((4, 3, 2), rngs=nnx.Rngs(0))


def build(key):
    return nn.MLP((2, 3, 2), rngs=nnx.Rngs(key))


WRONG_VALUES = (lambda x: x, lambda x: None, lambda x: "a", lambda x: jnp.zeros(3),
                lambda x: jnp.zeros([], jnp.int32), lambda x: 1j * bowl(x))  # fmt: skip
objective = functions(bowl).but(None, *WRONG_VALUES)
vector = trees(lambda: jnp.ones(3))
tangent = trees(lambda: jnp.ones(3), None, jnp.ones(2), [jnp.ones(3)], jnp.ones((3, 1)))
matrix = trees(lambda: jnp.ones((3, 2)), None, jnp.ones(3), 3, [1.0])
optimizer = Kind(
    lambda: optax.sgd(0.1),
    (
        3,
        "adam",
        True,
        np.ones(2),
        [],
        object(),
        lambda key: 1,
        optax.sgd,
        optax.scale_by_adam,
        transforms.adam,
        lambda: optax.sgd(0.1),
    ),
    drawn_from(text, whole, negative, exact, array, flag),
)
key = keys()
rngs = instances(lambda: nnx.Rngs(0), 0, jax.random.key(0))
module = instances(mlp, nnx.Linear)
features = sizes((4, 3, 2), 4, None, (), (4,), (4, 0, 2), (4, -1))
EXAMPLES = (np.ones((8, 2), np.float32), np.arange(8) % 2)


def _runs():
    record = saddle.EscapeRecord(jnp.arange(2), jnp.ones((3, 2)), jnp.ones((3, 2)))
    return saddle.EscapeRuns(*[jnp.ones(3)] * 5, record)


def _census():
    ones = jnp.ones(1, int)
    point = types.SimpleNamespace(kind=ones)
    return saddle.Census(jnp.ones((1, 2)), None, point, ones, *[None] * 4)


@functools.cache
def _density():
    key = jax.random.key(0)
    return saddle.spectral_density(bowl, jnp.ones(3), num_steps=2, num_probes=2, key=key)


def scores(params, inputs):
    """Three outputs for every example."""
    return inputs @ params


def squares(params, data):
    return jnp.sum(scores(params, data) ** 2, axis=1)


@functools.cache
def _blocks():
    return saddle.kfac_blocks(scores, jnp.ones((2, 3)), jnp.ones((4, 2)))


examples = Kind(
    lambda: jnp.ones((4, 2)),
    ("x", None, 3.0, {}, object(), jnp.ones([]), HALF, {"a": "b"}, True),
    drawn_from(text, exact, flag),
)
like_blocks = trees(lambda: jnp.ones((2, 3)), None, [], jnp.ones((3, 2)), [jnp.ones((2, 3))])
ARGUMENTS: dict[str, Kind] = {
    # Rules.
    "learning_rate": non_negative(schedule=True),
    "decay": shares(),
    "rho": shares(),
    "b1": shares(),
    "b2": shares(),
    "momentum": shares(),
    "eps": non_negative(),
    "eps_root": non_negative(),
    "weight_decay": non_negative(schedule=True),
    "weight_decay_mask": Kind(
        lambda: True,
        ("f", 3, 0.5, np.ones(2), HALF, object(), {"a": 1}, [None, "a"]),
        drawn_from(whole, negative, exact),
    ),
    "initial_accumulator_value": non_negative(),
    "initial_scale": non_negative(),
    "exponent": numbers(-0.5, NAN, INF),
    "max_norm": positive(),
    "max_delta": positive(),
    "scale": non_negative(),
    "gamma": non_negative(),
    "nce_radius": positive(),
    "radius": non_negative(),
    "gradient_threshold": non_negative(),
    "interval": non_negative(10),
    "distribution": options("sphere", "ball", "gaussian"),
    "update_average": options("elementwise", "norm"),
    "accumulate": options("current", "previous"),
    "look_ahead": options("scaled", "raw"),
    "solver": options("eigh"),
    "damping": non_negative(),
    "cg_tolerance": positive(),
    "max_cg_steps": counts(10),
    "subspace_size": counts(5),
    "hessian_lipschitz": positive(),
    "initial_radius": positive(),
    "max_radius": positive(10.0),
    "acceptance": numbers(0.1, -1.0, 0.5, NAN),
    "curvature_threshold": non_negative(),
    "max_restarts": integers(3, -1),
    "smoothness": positive(1.0),
    "curvature": positive(0.1),
    "start_radius": positive(1e-3),
    "end_radius": positive(0.1),
    "num_steps": counts(3),
    "mu_dtype": dtypes(),
    "nu_dtype": dtypes(),
    "accumulator_dtype": dtypes(),
    "flip_sign": flags(),
    "nesterov": flags(),
    "bias_correction": flags(),
    "eps_in_sqrt": flags(),
    "centered": flags(),
    "learning_rate_in_velocity": flags(),
    "steps": integers(3, -1),
    "every": counts(1),
    "observe": mappings({}, {"x": 3}, {3: jnp.sin}),
    "optimizer": optimizer,
    "has_aux": flags(),
    "donate": flags(),
    "params": trees(lambda: jnp.ones(3)),
    # Problems.
    "eigenvalues": spectra(3.0, 2.0),
    "singular_values": spectra(3.0, 2.0),
    "weights": spectra(3.0, 2.0),
    "signal": lists([3.0, 2.0], [], [NAN], [[1.0, 2.0]]),
    "center": lists([1.0, 2.0], [NAN], [1.0]),
    "shape": sizes((3, 4), 4, None, (3,), (0, 3), (-1, 4)),
    "rank": counts(2),
    "dimension": counts(3),
    "init_scale": positive(),
    "init_distribution": options("normal", "uniform"),
    "sampling_probability": numbers(0.7, -1.0, 0.0, 2.0, NAN),
    "row_bound": positive(9.0),
    "penalty": non_negative(),
    "widths": sizes((3, 4, 3), 4, None, (), (3, 0, 3), (3, -1, 3)),
    "hidden_widths": sizes((3,), 4, None, (0,), (-1,)),
    "inputs": lists(np.random.default_rng(0).normal(size=(8, 3)), [], [1.0], [[NAN]] * 8),
    "targets": lists(np.random.default_rng(1).normal(size=(8, 2)), [], [1.0], [[NAN]] * 8),
    "num_hidden": counts(4),
    "num_measurements": counts(20),
    "num_students": counts(2),
    "num_samples": counts(9),
    "num_components": counts(3),
    "attraction": positive(1.5),
    "repulsion": positive(1.0),
    "tube_radius": positive(2.7),
    "cross_weight": positive(4.0),
    "a": numbers(1.0, NAN, INF),
    "b": positive(9.0),
    "activation": options("sigmoid", "tanh"),
    "point": instances(lambda: problems.octopus(dimension=3).stationary_points[0]),
    "model": module,
    "labels": real_arrays(lambda: jnp.zeros(8, int), 3, jnp.zeros(7, int)),
    "train": flags(),
    # Saddles.
    "fun": objective,
    "x": vector,
    "v": tangent,
    "key": key,
    "k": counts(1),
    "which": options("smallest", "largest", "both"),
    "tolerance": positive(),
    "basis_size": counts(10),
    "max_products": counts(50),
    "check_copies": flags(),
    "check": flags(),
    "reorthogonalize": flags(),
    "num_probes": counts(4),
    "method": options("auto", "dense", "lanczos"),
    "max_steps": counts(5),
    "index": integers(0, -1, 99),
    "trust_radius": positive(),
    "merge_tolerance": non_negative(),
    "max_points": counts(3),
    "canonical": functions(lambda x: x),
    "null_space": functions(lambda x: x),
    "gradient_tolerance": non_negative(),
    "eigenvalue_tolerance": non_negative(),
    "num_eigenvalues": counts(2),
    "failure_probability": numbers(0.1, -1.0, 0.0, 1.0, 2.0, NAN),
    "num_starts": counts(4),
    "order": Kind(
        lambda: 2,
        (None, "2", 2.0, True, 3, [2], HALF, np.ones(2)),
        drawn_from(text, broken, exact, thing, array),
    ),
    "starts": trees(lambda: jnp.ones((2, 3)), None, jnp.ones([]), 1.0, [], jnp.ones((2, 0))),
    "keys": keys((2,)).but(jax.random.key(0)),
    "target_value": numbers(-1.0),
    "epsilon": positive(),
    "record_every": counts(2),
    "record_params": flags(),
    "record_min_eigenvalue": flags(),
    "observe_every": counts(2),
    "minibatch": counts(None),
    "replacement": flags(False),
    "devices": devices(),
    "lanes": counts(2),
    "checkpoint": paths("unwritten"),
    "checkpoint_every": positive(60.0),
    "callback": functions(print),
    "progress": flags(),
    "eval_params": functions(lambda state, params: params),
    "init": functions(lambda key: jnp.ones(3)).but(None, lambda key: {}, lambda key: "a"),
    "runs": counts(2),
    "folder": paths("unwritten").but(None),
    "batch_size": counts(2),
    "factor": matrix,
    "incoming": matrix,
    "outgoing": trees(lambda: jnp.ones(3), None, jnp.ones(2), 3),
    "loss": functions(bowl),
    "data": trees(lambda: jnp.ones((4, 2)), None, jnp.ones([]), 3.0, {}),
    # Networks.
    "features": features,
    "kernel_init": functions(nn.xavier_normal()),
    "bias_init": functions(nn.zeros),
    "normalization": functions(nn.LayerNorm),
    "wrapper": functions(nn.WeightNorm),
    "normalize_output": flags(),
    "dropout_rate": shares(),
    "dropout_rates": lists((0.1,) * 3, (0.5,), (2.0,) * 3, (-1.0,) * 3, (NAN,) * 3, None),
    "dtype": dtypes(),
    "param_dtype": dtypes(),
    "rngs": rngs,
    "in_channels": counts(3),
    "num_classes": counts(2),
    "width": counts(2),
    "depth": counts(8).but(7, 2),
    "num_features": counts(4),
    "num_groups": counts(2).but(3),
    "group_size": counts(2),
    "axis": axes(-1),
    "reduction_axes": axes(-1),
    "feature_axes": axes(-1),
    "use_running_average": flags(),
    "use_scale": flags(),
    "use_bias": flags(),
    "layer_instance": instances(lambda: nnx.Linear(4, 2, rngs=nnx.Rngs(0)), None),
    "name": options("relu").but(None),
    "function": options("relu").but(None),
    "direction": options("forward", "backward"),
    "approximate": flags(),
    "continuous": flags(),
    "alpha": numbers(1.0, arrays=True),
    "theta": numbers(0.5, arrays=True),
    "mode": options("fan_in", "fan_out"),
    "in_axis": axes(-2),
    "out_axis": axes(-1),
    "batch_axis": axes(()),
    "stddev": non_negative(),
    "cotangent": real_arrays(lambda: jnp.ones((2, 3)), None, 3, jnp.ones(3)),
    "lhs": real_arrays(lambda: jnp.ones((1, 4, 4, 2)), None, 3),
    "rhs": real_arrays(lambda: jnp.ones((3, 3, 2, 1)), None, 3),
    "window_strides": sizes((1, 1), None, 2, (0, 1), (-1, 1), (1,)),
    "padding": options("SAME", "VALID").but(None, [(1, 1)], [(0.5, 0)] * 2),
    "platform": options("cpu"),
    "promote_dtype": functions(lambda arrays, dtype: arrays),
    "layer_filter": functions(lambda layer: True),
    "module_filter": functions(lambda module: True),
    "scale_init": functions(nn.zeros),
    "match": functions(lambda name: name),
    # Training.
    "build": functions(build).but(None),
    "epochs": counts(2),
    "evaluation_batch_size": counts(10),
    "hyperparams": mappings({}, {"rate": "a"}, {"rate": np.ones(5)}, {"rate": object()}),
    "evaluation": mappings({}, {"test": 3}, {"test": None}, {"test": ()}),
    "metrics": mappings({}, {"accuracy": 3}, {"accuracy": "a"}),
    "data_axis": Kind(
        lambda: None, (1, -1, "a", 0.5, True, HALF, np.ones(2), []), drawn_from(text, exact, array)
    ),
    "augment": functions(lambda key, x: x),
    "gradient_norm": flags(),
    "max_loss": numbers(1.0),
    "names": Kind(
        lambda: ["a", "b"],
        (3, "ab", ["a", "a"], [1], ["/a"], ["../a"], [""], True, HALF, object()),
        drawn_from(text, whole, exact, array),
    ),
    "outputs": real_arrays(lambda: jnp.ones((3, 2)), None, 3),
    # Observables, slices and pictures.
    "vectors": flags(),
    "filter_axes": functions(lambda path, leaf: ()),
    "log": flags(),
    "losses": functions(lambda x: x).but(None),
    "origin": Kind(
        lambda: jnp.ones(3),
        ("x", object(), jnp.ones(3, int), {"a": "b"}, HALF, True, None, {}),
        drawn_from(text, exact, flag, lambda rng: jnp.ones(3, int)),
    ),
    "bounds": Kind(
        lambda: ((-1.0, 1.0), (-1.0, 1.0)),
        (3, "ab", (), ((0, 1),), ((1, 0), (0, 1)), ((0, 0), (0, 1)), ((0, "a"), (0, 1)), HALF,
         ((NAN, 1), (0, 1)), ((0, 1), (0, INF)), [[0, 1, 2], [0, 1]], ((0, 1), None), object()),
        drawn_from(text, whole, negative, exact, array, thing, flag),
    ),
    "num_points": counts(5),
    "levels": counts(3),
    "ax": instances(lambda: None),
    "label": Kind(
        lambda: "a",
        (3, b"a", True, 0.5, [], object(), np.ones(2), HALF),
        drawn_from(whole, negative, exact, array, flag),
    ),
    "found": instances(_census),
    "positions": real_arrays(lambda: jnp.ones((4, 2)), None, 3, jnp.ones((4, 3)), jnp.ones(2)),
    "what": options("value", "gradient_norm", "min_eigenvalue"),
    "quantiles": Kind(
        lambda: (0.1, 0.9),
        (3, "ab", (), (0.1,), (0.9, 0.1), (-1.0, 0.5), (0.5, 2.0), ("a", "b"), (NAN, 1.0), True,
         (HALF, 1), (True, True), object()),
        drawn_from(text, whole, negative, exact, array, thing, flag),
    ),
    "spectral_density": instances(_density),
    "eigenpairs": instances(lambda: None),
}  # fmt: skip

solid = trees(lambda: jnp.ones(3), None, [], jnp.ones((2, 0)))
steps_along = real_arrays(lambda: jnp.linspace(0.0, 1.0, 3), 3, jnp.ones((2, 1)), jnp.ones(0))
directions = trees(
    lambda: jnp.eye(3)[:2], None, jnp.ones(3), jnp.ones((3, 3)), (jnp.ones(3),),
    (jnp.ones(3), jnp.ones(2)),
)  # fmt: skip
# That both end and direction are given is refused, and is what this kind is for.
unwanted = Kind(lambda: None, (jnp.ones(3), "x", 3), drawn_from(text, array))
unit_names = mappings(
    None, {"none": (None,)}, {"blocks/0/layer/kernel": ("a",)}, {3: ("a",)}, {"w": "a"},
    {"w": ("a", "a")}, {"w": (3,)},
)  # fmt: skip
several = {"arrays": True}
FORMULAS = {
    name: positive(value, **several)
    for name, value in {
        "smoothness": 4.0, "strong_convexity": 1.0, "hessian_lipschitz": 1.0, "epsilon": 0.1,
        "c": 1.0, "learning_rate": 0.1, "attraction": 1.5, "repulsion": 1.0,
        "curvature": 0.5, "start": 0.1, "end": 1.0, "num_steps": 10,
    }.items()
} | {
    "failure_probability": numbers(0.1, -1.0, 0.0, 2.0, NAN, **several),
    "function_gap": non_negative(1.0, **several),
    "dimension": positive(10, **several),
    "distance": non_negative(1.0, **several),
    "decay": shares(**several),
    "rate": numbers(0.5, -1.0, 0.0, 1.0, NAN, **several),
    "accuracy": numbers(0.5, -1.0, 0.0, 1.0, NAN, **several),
    "lookahead": flags(),
    "tuned": flags(),
    "value": numbers(1.0, **several),
    "next_value": numbers(0.5, **several),
    "gradient_norm": numbers(1.0, **several),
}  # fmt: skip
named_activation = options("relu", "tanh").but(None)
OWN: dict[str, dict[str, Kind]] = {
    "transforms.perturbed_accelerated_gradient_descent": {"momentum": positive()},
    "transforms.escape_negative_curvature": {"radius": positive()},
    "transforms.neon2": {"radius": positive(), "num_steps": positive(3)},
    "transforms.flatten_by_dtype": {
        "params": Kind(
            lambda: jnp.ones(3),
            ("x", object(), {"a": "b"}, HALF, jnp.sin, np.array(["a"])),
            drawn_from(text, exact),
        )
    },
    "transforms.path": {"start": vector},
    "transforms.fill_masked": {"fun": functions(bowl).but(None)},
    "transforms.make_step": {"fun": functions(bowl).but(None)},
    "transforms.nesterov_eval_params": {
        "state": Kind(
            lambda: transforms.nesterov(0.1).init(jnp.ones(3)),
            (None, (), {"a": 1}, "state", 3, object()),
            drawn_from(text, whole, exact, array, thing),
        ),
        "params": Kind(
            lambda: jnp.ones(3),
            ("x", object(), {"a": "b"}, HALF, True, jnp.ones(3, int), None),
            drawn_from(text, exact, flag),
        ),
        "learning_rate": numbers(0.1),
    },
    "problems.octopus": {"attraction": positive(1.5), "repulsion": positive(1.0)},
    "problems.quadratic": {"eigenvalues": lists([3.0, 2.0], [], [NAN], [INF])},
    "problems.asymmetric_factorization": {
        "singular_values": spectra(3.0, 2.0, 1.0),
        "rank": counts(3),
    },
    "problems.linear_network": {
        "singular_values": spectra(3.0, 2.0, 1.0),
        "widths": ARGUMENTS["widths"].but((3,)),
    },
    "problems.quadratic_network_on_data": {
        "targets": lists(np.random.default_rng(1).normal(size=8), [], [1.0], [NAN] * 8)
    },
    "problems.empirical_loss": {
        "model": functions(lambda key: nnx.Linear(3, 2, rngs=nnx.Rngs(key))).but(None),
        "inputs": real_arrays(lambda: jnp.ones((8, 3)), None, 3),
        "loss": functions(training.cross_entropy),
    },
    "nn.match_units": {
        "reference": module.but(None),
        "model": module.but(None),
        "axes": unit_names,
        "activations": Kind(
            lambda: None,
            (3, "a", True, {}, [1], ({},), ({}, {}), ({"blocks/0": jnp.ones((2, 2))},) * 2),
            drawn_from(text, whole, exact, array, flag),
        ),
        "max_sweeps": counts(3),
    },
    "nn.permute_units": {
        "tree": trees(lambda: {"w": jnp.arange(3)}, None, {"v": jnp.ones(3)}),
        "permutations": mappings(
            {"a": np.array([2, 0, 1])}, {}, {"a": np.zeros(3, int)}, {"a": np.arange(4)}
        ),
        "axes": unit_names.valid(lambda: {"w": ("a",)}),
    },
    "nn.unit_activations": {"inputs": real_arrays(lambda: jnp.ones((2, 4)), None, 3)},
    "nn.from_pretrained": {
        "match": Kind(
            lambda: None, (3, 0.5, True, [], {}, HALF, object()), drawn_from(whole, exact, array)
        )
    },
    "problems.tensor_component": {
        "weights": lists([3.0, 2.0], [], [0.0, 1.0], [-1.0], [NAN], [INF], [[1.0, 2.0]]),
        "order": integers(4, 2, 0, -3),
    },
    "problems.relu_teacher_student": {"dimension": counts(3)},
    "observables.feature_rank": {"features": functions(lambda params: params)},
    "landscape.line": {"start": solid, "end": tangent, "direction": unwanted, "steps": steps_along},
    "landscape.plane": {
        "center": solid,
        "directions": directions,
        "rows": steps_along,
        "columns": steps_along,
    },
    "landscape.filter_normalized": {"params": solid, "direction": tangent},
    "landscape.random_direction": {"params": solid},
    "landscape.eigen_directions": {"params": solid},
    "landscape.through": {
        "first": solid,
        "second": tangent.valid(lambda: jnp.arange(3.0)),
        "third": tangent.valid(lambda: jnp.arange(3.0) ** 2),
    },
    "landscape.principal_directions": {
        "path": trees(lambda: jnp.eye(4, 3), None, jnp.ones((2, 3)), jnp.ones([]), 1.0, [],
                      jnp.ones((3, 1)), jnp.ones((3, 0)))
    },
    "landscape.project": {
        "points": trees(lambda: jnp.ones((4, 3)), None, jnp.ones(3), jnp.ones([]), 1.0, []),
        "center": solid,
        "directions": trees(lambda: jnp.eye(3)[:2], None, jnp.ones(3), (jnp.ones(2),)),
    },
    "plot.line": {"found": instances(lambda: landscape.Line(jnp.arange(3.0), jnp.ones(3)))},
    "plot.plane": {
        "found": instances(
            lambda: landscape.Plane(jnp.arange(3.0), jnp.arange(2.0), jnp.arange(6.0).reshape(3, 2))
        ),
        "levels": Kind(
            lambda: 3,
            ("x", -1, 0, 0.5, True, (), [2.0, 1.0], [NAN, 1.0], jnp.ones((2, 2)), HALF,
             object()),
            drawn_from(text, negative, exact, thing, flag),
        ),
        "filled": flags(),
    },
    "plot.band": {
        "x": real_arrays(lambda: jnp.arange(3.0), None, 3, jnp.ones((2, 3)), jnp.ones(2)),
        "values": real_arrays(lambda: jnp.ones((2, 3)), None, 3, jnp.ones(3), jnp.ones((0, 3))),
        "center": options("mean"),
    },
    "plot.distribution": {"values": lists([1.0, 2.0], [])},
    "plot.density": {"width": positive()},
    "plot.escape_times": {"runs": instances(_runs)},
    "plot.points": {
        "positions": real_arrays(lambda: jnp.ones((2, 2)), None, 3, jnp.ones(2), jnp.ones((2, 3))),
        "kinds": real_arrays(lambda: jnp.ones(2), None, 3, jnp.ones(3), jnp.full(2, 99.0)),
        "directions": real_arrays(lambda: jnp.ones((2, 2)), 3, jnp.ones(2), jnp.ones((3, 2))),
        "hollow": Kind(
            lambda: np.array([True, False]),
            ("x", 3, True, [1.0], object(), jnp.ones(2), jnp.ones(3, bool)),
            drawn_from(text, whole, exact, thing, flag),
        ),
    },
    "plot.record": {"runs": instances(_runs)},
    "saddle.path_saddles": {
        "path": trees(lambda: jnp.ones((2, 3)), None, jnp.ones([]), 1.0, [], jnp.ones((2, 0))),
        "steps": real_arrays(lambda: jnp.arange(2), 3, jnp.arange(3), jnp.ones((2, 1))),
        "prominence": numbers(2.0, -1.0, 0.0, 0.5, NAN, -INF),
        "max_distance": positive(),
        "max_steps": integers(5, -1),
    },
    "saddle.barrier": {
        "start": trees(lambda: jnp.ones(3), None, [], jnp.ones((2, 0)), jnp.full(3, NAN)),
        "end": trees(lambda: -jnp.ones(3), None, [], jnp.ones(2), jnp.ones(3), jnp.full(3, NAN)),
        "images": integers(5, 2, 0, -3),
        "learning_rate": positive(),
        "method": options("newton"),
        "max_steps": integers(5, -1),
    },
    "saddle.escape": {"fun": objective.valid(means)},
    "saddle.linear_symmetries": {
        "points": trees(lambda: jnp.ones((2, 3)), None, jnp.ones([]), 1.0, [], jnp.ones((2, 0))),
    },
    "saddle.find": {"method": options("newton"), "max_steps": integers(5, -1)},
    "saddle.extreme_eigenpairs": {
        "tolerance": non_negative(),
        "start": trees(lambda: jnp.ones(3), jnp.ones(2), [jnp.ones(3)], jnp.ones((3, 1))),
    },
    "saddle.fisher_product": {"model": functions(sines).but(None), "family": options("gaussian")},
    "saddle.empirical_fisher_product": {"losses": functions(sines).but(None)},
    "saddle.kfac_blocks": {
        "model": functions(scores).but(None, lambda p, x: "a", lambda p, x: 1j * scores(p, x)),
        "params": trees(lambda: jnp.ones((2, 3)), None, [], jnp.ones((2, 0))),
        "inputs": examples,
        "family": options("categorical", "gaussian"),
        "num_samples": counts(2),
        "sharing": options("expand", "reduce"),
    },
    "saddle.empirical_kfac_blocks": {
        "losses": functions(squares).but(None, scores),
        "params": trees(lambda: jnp.ones((2, 3)), None, [], jnp.ones((2, 0))),
        "data": examples,
        "sharing": options("expand", "reduce"),
    },
    "saddle.kfac_product": {"blocks": instances(_blocks), "v": like_blocks},
    "saddle.kfac_solve": {"blocks": instances(_blocks), "v": like_blocks, "damping": positive()},
    "saddle.kfac_error": {
        "blocks": instances(_blocks),
        "product": functions(sines).but(lambda v: None, lambda v: jnp.ones(2)),
        "params": like_blocks,
        "num_probes": integers(2, 1, 0, -3),
        "whole": flags(False),
    },
    "saddle.trace": {"method": options("hutchinson", "hutch++")},
    "saddle.diagonal": {"method": options("hutchinson", "diag++")},
    "saddle.change_of_basis_null_space": {
        "weights": Kind(
            lambda: (jnp.ones((3, 2)), jnp.ones((2, 3))),
            (None, 3, "ab", (), (1.0, 2.0), (jnp.ones((3, 2)),), (jnp.ones((3, 2)),) * 2),
            drawn_from(text, whole, exact, array, thing),
        )
    },
    "saddle.gauss_newton_product": {"model": functions(sines)},
    "saddle.mean_over_batches": {
        "loss": functions(lambda x, batch: bowl(x)),
        "data": examples,
    },
    "saddle.rescaling_null_space": {
        "outgoing": Kind(
            lambda: jnp.ones(3),
            ("x", None, 3, object(), jnp.ones(2), HALF, {"a": "b"}, True, jnp.ones(3, int)),
            drawn_from(text, exact, flag),
        )
    },
    "theory.stability_threshold": {"rule": optimizer, "gradient_scale": positive(1.0)},
    "theory.exponential_rate": {"weight_decay": non_negative(1e-6, **several)},
    "theory.convex_value_bound": {"num_steps": non_negative(10, **several)},
    "theory.recursion_factor": {"curvature": numbers(0.5, **several)},
    "theory.second_order_threshold": {
        "hessian_lipschitz": non_negative(1.0, **several),
        "epsilon": non_negative(0.1, **several),
    },
    "nn.MLP": {"activation": functions(nn.relu)},
    "nn.ConvNet": {
        "activation": functions(nn.relu),
        "widths": sizes((2, 3), 4, None, (0,), (-1,)),
    },
    "nn.VGG16": {"activation": functions(nn.relu)},
    "nn.ResNet": {"activation": functions(nn.relu)},
    "nn.BatchNorm": {"epsilon": non_negative(), "momentum": numbers(0.9, -1.0, 5.0, NAN, INF)},
    "nn.LayerNorm": {"epsilon": non_negative()},
    "nn.GroupNorm": {"epsilon": non_negative()},
    "nn.InstanceNorm": {"epsilon": non_negative()},
    "nn.WeightNorm": {"epsilon": non_negative(), "rngs": rngs},
    "nn.ActivationNoise": {
        "mean_range": non_negative(),
        "scale_range": numbers(1.25, 0.5, -1.0, NAN, -INF),
        "mean_spread": non_negative(),
        "scale_spread": non_negative(),
        "deterministic": flags(False),
        "rngs": rngs,
    },
    "nn.batch_norm_backward": {
        "epsilon": non_negative(),
        "x": real_arrays(lambda: jnp.ones((2, 3)), None, 3, jnp.ones((2, 4))),
        "scale": real_arrays(lambda: jnp.ones(3), None, 3, jnp.ones(4)),
        "axis": integers(-1, 5),
    },
    "nn.im2col_conv_general_dilated": {"feature_group_count": counts(1)},
    "nn.kaiming_normal": {"activation": named_activation},
    "nn.kaiming_uniform": {"activation": named_activation},
    "nn.xavier_normal": {"activation": named_activation},
    "nn.xavier_uniform": {"activation": named_activation},
    "nn.zeros": {"shape": sizes((3, 2), None, "ab", (-1, 2))},
    "training.fit": {
        "train": Kind(
            lambda: EXAMPLES,
            (None, 3, "data", (), EXAMPLES[:1], (EXAMPLES[0], EXAMPLES[1][:-1]), True,
             (np.float32(1), np.float32(2))),
            drawn_from(text, whole, exact, flag),
        ),
        "loss": functions(training.cross_entropy),
    },
    "training.correct": {"labels": real_arrays(lambda: jnp.zeros(3, int), None, 3, jnp.zeros(5))},
}  # fmt: skip
# What has options besides its signature's.
EXTRA = {
    f"nn.{name}": ("dtype", "param_dtype", "use_bias", "use_scale", "bias_init", "scale_init")
    for name in ("BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm")
}
# What is another library's, checked by that, or is not given by callers; states are as rules make.
NOT_OURS = {
    "transforms.eval_params": {"state", "params"},
    "transforms.fill_masked": {"params"},
    "nn.WeightNorm": {"variable_filter"},
    "nn.im2col_conv_general_dilated": {"dimension_numbers", "lhs_dilation", "rhs_dilation"},
    "nn.zeros": {"key", "out_sharding"},
}
# `cross_entropy` is optax's, `conv_general_dilated` takes jax.lax's arguments, `Preempted` none.
SKIPPED = {"training.cross_entropy", "nn.conv_general_dilated", "training.Preempted"}
# Where None is a tree without leaves.
EMPTY = {("transforms.flatten_by_dtype", "params")}
NHWC = ("NHWC", "HWIO", "NHWC")
FIXED: dict[str, dict[str, Any]] = {
    "transforms.fill_masked": {"params": jnp.ones(3)},
    "nn.zeros": {"key": None},
    "landscape.line": {"end": jnp.arange(3.0)},
    "nn.im2col_conv_general_dilated": {"dimension_numbers": NHWC},
    "nn.GroupNorm": {"num_groups": 2},
}


def through(make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A call of what is made."""
    return lambda x: make()(x)


# What is made is called, too: its input is x.
CALLED = {
    "nn.MLP()": (lambda: nn.MLP((4, 2), rngs=nnx.Rngs(0)), jnp.ones((2, 4))),
    "nn.ConvNet()": (lambda: nn.ConvNet(3, (2,), rngs=nnx.Rngs(0)), jnp.ones((2, 4, 4, 3))),
    "nn.BatchNorm()": (lambda: nn.BatchNorm(4, rngs=nnx.Rngs(0)), jnp.ones((2, 4))),
    "nn.LayerNorm()": (lambda: nn.LayerNorm(4, rngs=nnx.Rngs(0)), jnp.ones((2, 4))),
    "nn.InstanceNorm()": (lambda: nn.InstanceNorm(4, rngs=nnx.Rngs(0)), jnp.ones((2, 3, 4))),
    "nn.GroupNorm()": (lambda: nn.GroupNorm(4, 2, rngs=nnx.Rngs(0)), jnp.ones((2, 4))),
}


def is_result(member: Any) -> bool:
    """Whether it is a class of results: made by functions, not by callers."""
    return inspect.isclass(member) and (
        issubclass(member, tuple | enum.IntEnum | int) or dataclasses.is_dataclass(member)
    )


def public() -> dict[str, Callable[..., Any]]:
    """Everything that a caller calls, by its package and name."""
    return {
        f"{short}.{name}": getattr(package, name)
        for short, package in PACKAGES.items()
        for name in package.__all__
        if callable(getattr(package, name)) and not is_result(getattr(package, name))
    } | {name: through(make) for name, (make, _) in CALLED.items()}


def kinds_of(name: str) -> dict[str, Kind]:
    """What the arguments of a function are."""
    shared = ARGUMENTS | (FORMULAS if name.startswith("theory.") else {})
    if name == "theory.estimate_smoothness":
        shared = ARGUMENTS
    if name.startswith("nn.") and name.rpartition(".")[2] in nn.ACTIVATIONS:
        shared = shared | {"x": real_arrays(lambda: jnp.ones(3), None)}
    if name in CALLED:
        x = CALLED[name][1]
        wrong = (None, 3, jnp.ones((2, 4), bool), x[..., 1:])
        shared = shared | {"x": real_arrays(lambda: x, *wrong)}
    return shared | OWN.get(name, {})


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters by name that a caller gives."""
    target = function.__init__ if inspect.isclass(function) else function
    found = list(inspect.signature(target).parameters.values())
    return [
        p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"
    ]


def valid_call(name: str) -> dict[str, Any]:
    """Valid arguments of everything that has no default."""
    kinds = kinds_of(name)
    required = [p.name for p in parameters(public()[name]) if p.default is p.empty]
    given = [p for p in required if p not in NOT_OURS.get(name, ())]
    return {p: kinds[p].make() for p in given} | FIXED.get(name, {})


def cases(name: str) -> Iterator[tuple[str, Kind, tuple[Any, ...]]]:
    """Every argument of a function, with its kind and the values that it must not have."""
    kinds = kinds_of(name)
    for p in parameters(public()[name]):
        if p.name in NOT_OURS.get(name, ()):
            continue
        kind = kinds[p.name]
        optional = p.default is None or "None" in str(p.annotation)
        wrong = tuple(value for value in kind.wrong if not (optional and value is None))
        optional = optional or (name, p.name) in EMPTY
        yield p.name, kind, wrong if optional or None in map(_identity, wrong) else (*wrong, None)
    for extra in EXTRA.get(name, ()):
        yield extra, kinds[extra], tuple(v for v in kinds[extra].wrong if v is not None)


def _identity(value: Any) -> Any:
    """None for None, else something whose comparison is one truth."""
    return None if value is None else id(value)


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Call with arguments by name, positional ones by place."""
    function = public()[name]
    positional = [p.name for p in parameters(function) if p.kind is p.POSITIONAL_ONLY]
    named = {key: value for key, value in arguments.items() if key not in positional}
    return function(*(arguments[key] for key in positional), **named)

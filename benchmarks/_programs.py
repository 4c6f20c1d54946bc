"""What this library compiles to run on an accelerator: one program for everything it offers.

Each is a function of arrays, the shapes of these, and how many loops stand around what is called a
step. Nothing here is computed: `_compile.py` takes the programs as they are. They are of float32
where their name says no other width.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxopt_course import nn, problems, saddle, training, transforms
from jaxopt_course.training import _plan as training_plan
from jaxopt_course.training._program import Sets, run_epoch
from jaxopt_course.training._starts import shape_of_drawn

LANES, DIMENSION = 1024, 10
OCTOPUS = problems.octopus(dimension=DIMENSION)
RATE, RADIUS, THRESHOLD = 0.1, 0.02, 0.02
WIDTHS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


class Program(NamedTuple):
    """Something to compile.

    Attributes:
        function: The program.
        arguments: Pytrees of shapes.
        loops: Loops around a step; 0 where all of it is one step.
        wide: Whether it is float64.
        is_quick: Whether its steps are taken several at a time.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    loops: int = 0
    wide: bool = False
    is_quick: bool = False


def _shape(*sizes: int, dtype: Any = None) -> jax.ShapeDtypeStruct:
    """A shape, of float64 where that is enabled, else of float32, if no dtype is given."""
    return jax.ShapeDtypeStruct(sizes, jnp.result_type(float) if dtype is None else dtype)


def _keys(count: int) -> Any:
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _quartic(x: jax.Array) -> jax.Array:
    """A function of any number of parameters with curvature of both signs."""
    return jnp.sum(x**4 - x**2 * jnp.cos(jnp.arange(x.size)))


def _noise(key: jax.Array) -> dict[str, Any]:
    return {"radius": RADIUS, "gradient_threshold": THRESHOLD, "interval": 1, "key": key}


RULES: dict[str, Any] = {
    "gradient_descent": transforms.gradient_descent(RATE),
    "perturbed_gradient_descent": lambda key: transforms.perturbed_gradient_descent(
        RATE, **_noise(key)
    ),
    "noisy_gradient_descent": lambda key: transforms.noisy_gradient_descent(RATE, 1e-2, key),
    "adam": transforms.adam(RATE),
    "perturbed_accelerated_gradient_descent": (
        lambda key: transforms.perturbed_accelerated_gradient_descent(
            RATE, momentum=0.2, gamma=0.8, nce_radius=0.1, **_noise(key)
        )
    ),
    "escape_negative_curvature": lambda key: optax.chain(
        transforms.escape_negative_curvature(**_noise(key)), transforms.gradient_descent(RATE)
    ),
}


def _escapes() -> Iterator[tuple[str, Program]]:
    def escape(rule: Any, dtype: Any, **options: Any) -> Program:
        def run(starts: jax.Array, keys: jax.Array) -> Any:
            return saddle.escape(
                OCTOPUS.fun, rule, starts, keys, max_steps=300, lanes=LANES, **options
            )

        arguments = (_shape(LANES, DIMENSION, dtype=dtype), _keys(LANES))
        recorded = "record_every" in options
        return Program(run, arguments, 1, dtype is jnp.float64, is_quick=not recorded)

    for name, rule in RULES.items():
        for width, dtype in WIDTHS.items():
            yield f"escape, {name}, {width}", escape(rule, dtype)
    variants = {
        "recorded": {"record_every": 10, "record_params": True},
        "epsilon": {"epsilon": 1e-2, "hessian_lipschitz": 1.0},
    }
    for name, options in variants.items():
        for width, dtype in WIDTHS.items():
            ending = "" if width == "float32" else f", {width}"
            rule = RULES["perturbed_gradient_descent"]
            yield f"escape, {name}{ending}", escape(rule, dtype, **options)


def _obvious() -> Iterator[tuple[str, Program]]:
    """What one writes without this library: `vmap` of a `while_loop` around optax."""

    def run(make: Callable[[jax.Array], Any], starts: jax.Array, keys: jax.Array) -> Any:
        def one(start: jax.Array, key: jax.Array) -> jax.Array:
            rule = make(key)

            def step(carry: Any) -> Any:
                x, state, count = carry
                value, gradient = jax.value_and_grad(OCTOPUS.fun)(x)
                updates, state = rule.update(gradient, state, x)
                going = jnp.isfinite(value)
                x = jnp.where(going, optax.apply_updates(x, updates), x)
                return x, state, count + going

            carry = (start, rule.init(start), jnp.zeros((), jnp.int32))
            return jax.lax.while_loop(lambda carry: carry[2] < 300, step, carry)[0]

        return jax.vmap(one)(starts, keys)

    arguments = (_shape(LANES, DIMENSION), _keys(LANES))
    rules = {
        "sgd": lambda _: optax.sgd(RATE),
        "noisy_sgd": lambda key: optax.chain(optax.add_noise(1e-2, 0.0, key), optax.sgd(RATE)),
    }
    for name, make in rules.items():
        yield f"the obvious way, {name}", Program(functools.partial(run, make), arguments, 1)

    def spectrum(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.linalg.norm(jax.grad(OCTOPUS.fun)(x)), jnp.linalg.eigvalsh(
            jax.hessian(OCTOPUS.fun)(x)
        )

    yield "the obvious way, eigvalsh", Program(jax.vmap(spectrum), (_shape(LANES, DIMENSION),))


def _landscape() -> Iterator[tuple[str, Program]]:
    starts = _shape(128, DIMENSION)
    methods = {
        "newton": None,
        "levenberg_marquardt": None,
        "gradient_norm": None,
        "eigenvector_following": 1,
        None: None,
    }
    for method, index in methods.items():

        def find(starts: jax.Array, method: Any = method, index: int | None = index) -> Any:
            return saddle.find(OCTOPUS.fun, starts, method=method, index=index, max_points=16)

        yield f"find, {method or 'no method'}", Program(find, (starts,), 1)
    for order in (2, 4):
        classify = functools.partial(saddle.classify, OCTOPUS.fun, order=order)
        yield (
            f"classify, order {order}, {LANES} points",
            Program(jax.vmap(classify), (_shape(LANES, DIMENSION),)),
        )
    matrix_free = functools.partial(saddle.classify, _quartic, method="lanczos")
    yield (
        "classify, order 2, Lanczos",
        Program(lambda x, key: matrix_free(x, key=key), (_shape(4096), _key())),
    )


def _curvature() -> Iterator[tuple[str, Program]]:
    functions = {
        "extreme_eigenpairs": functools.partial(saddle.extreme_eigenpairs, which="both"),
        "trace": functools.partial(saddle.trace, num_probes=12, method="hutch++"),
        "diagonal": functools.partial(saddle.diagonal, num_probes=12, method="diag++"),
        "spectral_density": functools.partial(saddle.spectral_density, num_steps=20, num_probes=4),
    }
    for name, function in functions.items():
        yield (
            name,
            Program(lambda x, key, f=function: f(_quartic, x, key=key), (_shape(4096), _key())),
        )


def _steps() -> Iterator[tuple[str, Program]]:
    key = jax.random.key(0)
    rules = {
        name: rule if isinstance(rule, optax.GradientTransformation) else rule(key)
        for name, rule in RULES.items()
    }
    rules |= {
        "heavy_ball": transforms.heavy_ball(RATE),
        "nesterov": transforms.nesterov(RATE),
        "adagrad": transforms.adagrad(RATE),
        "rmsprop": transforms.rmsprop(RATE),
        "adadelta": transforms.adadelta(),
        "newton, eigh": transforms.newton(),
        "newton, cg": transforms.newton(solver="cg"),
        "saddle_free_newton, eigh": transforms.saddle_free_newton(),
        "saddle_free_newton, lanczos": transforms.saddle_free_newton(solver="lanczos"),
        "cubic_newton, eigh": transforms.cubic_newton(1.0),
        "cubic_newton, lanczos": transforms.cubic_newton(1.0, solver="lanczos"),
        "trust_region, eigh": transforms.trust_region(),
        "trust_region, cg": transforms.trust_region(solver="cg"),
        "trust_region, lanczos": transforms.trust_region(solver="lanczos"),
        "inject_noise": transforms.inject_noise(1e-2, key),
        "perturb_at_saddle": transforms.perturb_at_saddle(**_noise(key)),
        "clip_by_global_norm": transforms.clip_by_global_norm(1.0),
        "clip_by_leaf_norm": transforms.clip_by_leaf_norm(1.0),
        "clip_by_value": transforms.clip_by_value(1.0),
        "neon2": transforms.neon2(
            smoothness=3.0,
            curvature=0.3,
            start_radius=1e-2,
            end_radius=0.1,
            num_steps=20,
            **_noise(key),
        ),
    }
    x = _shape(256)
    for name, rule in rules.items():
        step = transforms.make_step(_quartic, rule, donate=False)
        yield f"make_step, {name}", Program(step, (x, jax.eval_shape(rule.init, x)))


def _training() -> Iterator[tuple[str, Program]]:
    dtype = _shape().dtype
    models = {
        "MLP": (functools.partial(nn.MLP, (784, 256, 10), param_dtype=dtype), (784,)),
        "ConvNet": (functools.partial(nn.ConvNet, 1, param_dtype=dtype), (28, 28, 1)),
        "ResNet-8": (functools.partial(nn.ResNet, 8, param_dtype=dtype), (32, 32, 3)),
    }
    for name, (model, image) in models.items():

        def build(key: jax.Array, model: Callable[..., Any] = model) -> nnx.Module:
            return model(rngs=nnx.Rngs(key))

        plan = training_plan.Plan(
            build=build,
            optimizer=transforms.adam(1e-3),
            loss=training.cross_entropy,
            metrics={"accuracy": training.correct},
            batch_size=128,
            evaluation_batch_size=1000,
            max_loss=float("inf"),
            augment=None,
            gradient_norm=False,
            eval_params=transforms.eval_params,
            data_axis=None,
            observe={},
            observe_every=1,
        )
        keys = jax.random.split(jax.random.key(0), 1)
        network = training_plan.trace_start(plan, keys, {})
        sets = Sets((jnp.zeros((1280, *image)), jnp.zeros(1280, jnp.int32)), {})
        program = training_plan.trace_program(plan, network, sets, keys, epochs=1, lanes=1)
        runs = shape_of_drawn(network.start, _keys(1), {})
        count, running = _shape(1, dtype=jnp.int32), _shape(1, dtype=jnp.bool_)
        shapes = jax.eval_shape(lambda tree: tree, program)
        yield (
            f"training epoch, {name}",
            Program(run_epoch, (shapes, runs, count, count, running), 1),
        )


def _hand_written() -> Iterator[tuple[str, Program]]:
    """The MLP's epoch as one writes it: a scan over batches, optax's Adam."""
    optimizer = optax.adam(1e-3)

    def start(key: jax.Array) -> tuple[Any, Any]:
        one, two = jax.random.split(key)
        params = {
            "in": jax.random.normal(one, (784, 256)) / 28,
            "out": jax.random.normal(two, (256, 10)) / 16,
            "shift": [jnp.zeros(256), jnp.zeros(10)],
        }
        return params, optimizer.init(params)

    def loss(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(images @ params["in"] + params["shift"][0])
        outputs = hidden @ params["out"] + params["shift"][1]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))

    def epoch(carry: Any, key: jax.Array, images: jax.Array, labels: jax.Array) -> Any:
        def step(carry: Any, chosen: jax.Array) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, images[chosen], labels[chosen])
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        order = jax.random.permutation(key, images.shape[0])
        return jax.lax.scan(step, carry, order.reshape(-1, 128))

    data = (_shape(1280, 784), _shape(1280, dtype=jnp.int32))
    arguments = (jax.eval_shape(start, _key()), _key(), *data)
    yield "the obvious way, a step at a time", Program(epoch, arguments, 1)


def programs() -> dict[str, Program]:
    """Every program by name; all but rivals in float64, too, each after what it is a variant of."""
    parts = (_escapes, _obvious, _landscape, _curvature, _steps, _training, _hand_written)
    narrow = {name: program for part in parts for name, program in part()}
    with jax.enable_x64(True):
        wide = {
            f"{name}, float64": program._replace(wide=True)
            for part in (_landscape, _curvature, _steps, _training)
            for name, program in part()
        }
    found = {}
    for name, program in narrow.items():
        found[name] = program
        if f"{name}, float64" in wide:
            found[f"{name}, float64"] = wide[f"{name}, float64"]
    return found


def left_out(name: str, device: str) -> str | None:
    """Why a program is not compiled for a device, in the page's words; None where it is."""
    if device == "4 TPU v5e" and name.startswith(("make_step", "training", "the obvious way, a")):
        return "for four chips the steps of rules and training, of one run, which has one chip"
    if device == "4 TPU v5e" and name.startswith("find") and name != "find, newton":
        return "and searches by other methods than Newton's"
    if "float64" in name and device in ("TPU v6e", "4 TPU v5e"):
        return "float64 for a v6e and for four chips, where it is emulated as on one v5e"
    return None


def is_slow(name: str) -> int:
    """How long a program takes to compile: 0 for seconds, 1 for a minute, 2 for more."""
    if "order 4" in name or name.startswith("find"):
        return 2
    words = ("ResNet", "eigh", "lanczos", "classify", "float64")
    return int(any(word in name for word in words))


def concrete(arguments: Any) -> Any:
    """Arrays of these shapes to run a program on: normal numbers, keys, zeros, true."""
    leaves, structure = jax.tree.flatten(arguments)
    keys = jax.random.split(jax.random.key(0), len(leaves))

    def make(leaf: Any, key: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.split(key, leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return 0.1 * jax.random.normal(key, leaf.shape, leaf.dtype)
        return jnp.full(leaf.shape, leaf.dtype == jnp.bool_, leaf.dtype)

    return structure.unflatten(map(make, leaves, keys))

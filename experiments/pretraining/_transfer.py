"""Networks that start from layers trained on something else, and learn a few labels.

Halves of the classes, the starts through an orbax checkpoint, and the fine-tuning of all seeds and
learning rates side by side.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx

from jaxopt_course import training
from jaxopt_course.nn import MLP, from_pretrained, functional_view

from ..lab import data, progress, resumable
from ._config import Config

SCRATCH = "from scratch"
OTHERS = "other classes"
FIRST = "other classes, first layer"
ROTATED = "rotated images"
SHUFFLED = "shuffled labels"
STARTS = (SCRATCH, OTHERS, FIRST, ROTATED, SHUFFLED)
PRETRAINED = (OTHERS, FIRST, ROTATED, SHUFFLED)
CLASSES = 10
HALF = CLASSES // 2


def halve(loaded: data.Dataset, seed: int) -> tuple[data.Dataset, data.Dataset]:
    """Divide the classes at random into two halves of five, each numbered from 0.

    All classes are cut to the size of the smallest, so that the halves of different seeds can be
    stacked; training examples are in random order within a class and the classes take turns, so
    that the first `5 n` examples are `n` of each class.

    Args:
        loaded: Data of ten classes.
        seed: Of the division and the order.

    Returns:
        Data of the first half and of the second.
    """
    generator = np.random.default_rng(seed)
    halves = np.split(generator.permutation(CLASSES), 2)

    def part(split: data.Split, classes: np.ndarray) -> data.Split:
        size = np.bincount(split.labels, minlength=CLASSES).min()
        members = [np.flatnonzero(split.labels == label) for label in classes]
        chosen = np.stack([generator.permutation(indices)[:size] for indices in members])
        labels = np.tile(np.arange(HALF, dtype=np.int32), size)
        return data.Split(split.images[chosen.T.ravel()], labels)

    first, second = (
        data.Dataset(loaded.name, part(loaded.train, classes), part(loaded.test, classes))
        for classes in halves
    )
    return first, second


def _stacked(splits: list[data.Split]) -> data.Split:
    return data.Split(*(np.stack(leaves) for leaves in zip(*splits, strict=True)))


def _transferred(
    build: Callable[[jax.Array], MLP], key: jax.Array, pretrained: Any, layers: int
) -> Any:
    """Return parameters of a fresh network with the first layers of a pre-trained one."""
    model = build(key)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "pretrained"
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(checkpoint, pretrained)
        from_pretrained(model, checkpoint, match=lambda path: int(path.split("/")[1]) < layers)
    return functional_view(model).params


def _fine_tune(apply, params, train, test, learning_rate, steps):
    """Train on all examples at once; return the test accuracy at 21 times, the start included."""
    optimizer = optax.sgd(learning_rate, momentum=0.9)

    def loss(params):
        outputs, _ = apply(params, {}, train[0])
        return training.cross_entropy(outputs, train[1]).mean()

    def accuracy(params):
        outputs, _ = apply(params, {}, test[0])
        return training.correct(outputs, test[1]).mean()

    def step(carry, _):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    def stretch(carry, _):
        carry, _ = jax.lax.scan(step, carry, length=steps // 20)
        return carry, accuracy(carry[0])

    _, accuracies = jax.lax.scan(stretch, (params, optimizer.init(params)), length=20)
    return jnp.concatenate([accuracy(params)[None], accuracies])


def train(config: Config, loaded: data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Pre-train on one half of the classes, fine-tune on the other from every start.

    Args:
        config: That of the experiment `pretraining`.
        loaded: Images of ten classes.

    Returns:
        Test accuracies of fine-tuning, labels x `STARTS` x seeds x rates x 21 times, and test
        accuracies of pre-training, `PRETRAINED` x seeds.
    """
    # Every seed has its own division of the classes, and keys for new and for pre-trained networks.
    halves = [halve(loaded, config.seed + index) for index in range(config.seeds)]
    sources, targets = zip(*halves, strict=True)
    fresh_keys, pretraining_keys = (
        jax.random.split(key, config.seeds) for key in jax.random.split(jax.random.key(config.seed))
    )

    def builder(classes: int) -> Callable[[jax.Array], MLP]:
        features = (loaded.train.images[0].size, *config.hidden, classes)
        return lambda key: MLP(features, rngs=nnx.Rngs(key))

    build, build_all = builder(HALF), builder(CLASSES)
    optimizer = optax.sgd(config.learning_rate, momentum=0.9)

    def pretrain(build, train: data.Split, test: data.Split, data_axis: int | None) -> training.Fit:
        return resumable.fit(
            build,
            optimizer,
            train,
            pretraining_keys,
            data_axis=data_axis,
            epochs=config.epochs,
            batch_size=config.batch_size,
            evaluation={"test": test},
        )

    # Pre-training: on the other classes, on all classes turned by 90 degrees, on shuffled labels.
    source, source_test = (
        _stacked([getattr(source, name) for source in sources]) for name in ("train", "test")
    )
    generator = np.random.default_rng(config.seed)
    shuffled = data.Split(source.images, generator.permuted(source.labels, axis=1))
    rotated, rotated_test = (
        data.Split(np.rot90(split.images, axes=(1, 2)), split.labels)
        for split in (loaded.train, loaded.test)
    )
    others = pretrain(build, source, source_test, 0)
    pretrained = {
        OTHERS: others,
        FIRST: others,
        ROTATED: pretrain(build_all, rotated, rotated_test, None),
        SHUFFLED: pretrain(build, shuffled, source_test, 0),
    }

    # Where fine-tuning starts: from a new network, or with the first layers of a trained one.
    def start(name: str, index: int) -> Any:
        if name == SCRATCH:
            return functional_view(build(fresh_keys[index])).params
        of_run = jax.tree.map(lambda leaf: leaf[index], pretrained[name].runs.params)
        layers = 1 if name == FIRST else len(config.hidden)
        return _transferred(build, fresh_keys[index], of_run, layers)

    # Fine-tuning of all seeds at all rates at once; each number of labels compiles it anew.
    apply = functional_view(build(fresh_keys[0])).apply

    @jax.jit
    def fine_tune(params, train, test):
        def one_run(params, train, test, learning_rate):
            return _fine_tune(apply, params, train, test, learning_rate, config.steps)

        every_rate = jax.vmap(one_run, in_axes=(None, None, None, 0))
        every_seed = jax.vmap(every_rate, in_axes=(0, 0, 0, None))
        return every_seed(params, train, test, jnp.array(config.learning_rates))

    starts = {
        name: jax.tree.map(
            lambda *leaves: jnp.stack(leaves),
            *[start(name, index) for index in range(config.seeds)],
        )
        for name in STARTS
    }
    target, test = (
        _stacked([getattr(target, name) for target in targets]) for name in ("train", "test")
    )
    accuracies = []
    for count in progress.track(config.labels, "labels a class"):
        few = data.Split(*(leaf[:, : HALF * count] for leaf in target))
        accuracies.append([fine_tune(starts[name], few, test) for name in STARTS])
    sources_learnt = [pretrained[name].history["test_accuracy"][:, -1] for name in PRETRAINED]
    return np.array(accuracies), np.array(sources_learnt)

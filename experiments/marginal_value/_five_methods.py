"""The five methods that Wilson et al. compare, as functions of a learning rate.

Heavy ball has momentum 0.9, RMSProp's average decays by 0.99, and all accumulators start at 0.
"""

import functools
from collections.abc import Callable

import optax

from jaxopt_course import transforms

NON_ADAPTIVE = ("SGD", "heavy ball")
ADAPTIVE = ("AdaGrad", "RMSProp", "Adam")
METHODS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "SGD": transforms.gradient_descent,
    "heavy ball": transforms.heavy_ball,
    "AdaGrad": functools.partial(transforms.adagrad, eps=1e-8, eps_in_sqrt=False),
    "RMSProp": functools.partial(transforms.rmsprop, decay=0.99, eps=1e-8, eps_in_sqrt=False),
    "Adam": transforms.adam,
}

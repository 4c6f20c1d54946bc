"""Update rules as optax gradient transformations.

A rule comes as `scale_by_<rule>`, a link for `optax.chain`, and as `<rule>`, the complete optimizer
with its learning rate. Where optax has the rule, the signature is a superset of optax's, so that
changing the import changes nothing but optax's defects; each docstring says what differs.

    optimizer = transforms.adam(1e-3)
    state = optimizer.init(params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)

Rules that need more than the gradient take it as `optax.lbfgs` does:
`optimizer.update(grads, state, params, value=value, grad=grads, value_fn=fun)`. The others ignore
these arguments, so the same call serves every optimizer.

L-BFGS is not here: `optax.lbfgs` has it, and `transforms.newton` says when it is the better choice.
"""

from jaxopt_course import _exports
from jaxopt_course.transforms._accelerated import (
    PerturbedAcceleratedState,
    perturbed_accelerated_gradient_descent,
)
from jaxopt_course.transforms._adadelta import (
    AdaDeltaState,
    adadelta,
    scale_by_adadelta,
)
from jaxopt_course.transforms._adagrad import (
    AdaGradState,
    adagrad,
    scale_by_adagrad,
)
from jaxopt_course.transforms._adam import (
    AdamState,
    adam,
    scale_by_adam,
)
from jaxopt_course.transforms._clipping import (
    ClipState,
    clip_by_global_norm,
    clip_by_leaf_norm,
    clip_by_value,
)
from jaxopt_course.transforms._cubic_newton import (
    CubicNewtonState,
    cubic_newton,
    scale_by_cubic_newton,
)
from jaxopt_course.transforms._gradient_descent import (
    LearningRateState,
    gradient_descent,
    scale_by_learning_rate,
)
from jaxopt_course.transforms._momentum import (
    HeavyBallState,
    NesterovState,
    heavy_ball,
    nesterov,
    nesterov_eval_params,
    scale_by_heavy_ball,
    scale_by_nesterov,
)
from jaxopt_course.transforms._negative_curvature import (
    EscapeState,
    escape_negative_curvature,
)
from jaxopt_course.transforms._neon2 import neon2
from jaxopt_course.transforms._newton import (
    NewtonState,
    newton,
    scale_by_newton,
)
from jaxopt_course.transforms._noise import (
    InjectNoiseState,
    inject_noise,
    noisy_gradient_descent,
)
from jaxopt_course.transforms._path import (
    Path,
    path,
)
from jaxopt_course.transforms._perturbation import (
    PerturbAtSaddleState,
    perturb_at_saddle,
    perturbed_gradient_descent,
)
from jaxopt_course.transforms._protocol import (
    LookaheadRunState,
    adapt,
    eval_params,
    fill_masked,
)
from jaxopt_course.transforms._rmsprop import (
    CenteredRMSPropState,
    RMSPropState,
    rmsprop,
    scale_by_rmsprop,
)
from jaxopt_course.transforms._saddle_free_newton import (
    SaddleFreeNewtonState,
    saddle_free_newton,
    scale_by_saddle_free_newton,
)
from jaxopt_course.transforms._step import (
    flatten_by_dtype,
    make_step,
)
from jaxopt_course.transforms._trust_region import (
    TrustRegionState,
    trust_region,
)

__all__ = [
    "AdaDeltaState",
    "AdaGradState",
    "AdamState",
    "CenteredRMSPropState",
    "ClipState",
    "CubicNewtonState",
    "EscapeState",
    "HeavyBallState",
    "InjectNoiseState",
    "LearningRateState",
    "LookaheadRunState",
    "NesterovState",
    "NewtonState",
    "Path",
    "PerturbAtSaddleState",
    "PerturbedAcceleratedState",
    "RMSPropState",
    "SaddleFreeNewtonState",
    "TrustRegionState",
    "adadelta",
    "adagrad",
    "adam",
    "adapt",
    "clip_by_global_norm",
    "clip_by_leaf_norm",
    "clip_by_value",
    "cubic_newton",
    "escape_negative_curvature",
    "eval_params",
    "fill_masked",
    "flatten_by_dtype",
    "gradient_descent",
    "heavy_ball",
    "inject_noise",
    "make_step",
    "neon2",
    "nesterov",
    "nesterov_eval_params",
    "newton",
    "noisy_gradient_descent",
    "path",
    "perturb_at_saddle",
    "perturbed_accelerated_gradient_descent",
    "perturbed_gradient_descent",
    "rmsprop",
    "saddle_free_newton",
    "scale_by_adadelta",
    "scale_by_adagrad",
    "scale_by_adam",
    "scale_by_cubic_newton",
    "scale_by_heavy_ball",
    "scale_by_learning_rate",
    "scale_by_nesterov",
    "scale_by_newton",
    "scale_by_rmsprop",
    "scale_by_saddle_free_newton",
    "trust_region",
]

_exports.claim(__name__, __all__)

"""First- and second-order optimization and loss-landscape research in JAX.

An objective is a function, an optimizer is an optax transformation, a result is a pytree;
the modules here are ways of putting those three together:

    transforms  update rules as optax gradient transformations
    nn          activations, initializers, normalization and networks for flax
    training    minibatch training of many seeds and settings at once
    problems    objectives whose landscape is known
    saddle      stationary points: what they are, and how runs leave them
    theory      rates and bounds as functions
    observables what there is to see along a training
    landscape   lines and planes of an objective's values
    plot        pictures of results
"""

from jaxopt_course import landscape as landscape
from jaxopt_course import nn as nn
from jaxopt_course import observables as observables
from jaxopt_course import plot as plot
from jaxopt_course import problems as problems
from jaxopt_course import saddle as saddle
from jaxopt_course import theory as theory
from jaxopt_course import training as training
from jaxopt_course import transforms as transforms
from jaxopt_course._version import installed_version

__version__ = installed_version()

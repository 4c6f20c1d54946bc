"""Minibatch training of networks: many seeds and hyperparameters in one compiled program."""

from jaxopt_course._preemption import Preempted as Preempted
from jaxopt_course.training.combinations import Grid as Grid
from jaxopt_course.training.combinations import grid as grid
from jaxopt_course.training.lanes import Epochs as Epochs
from jaxopt_course.training.loop import Fit as Fit
from jaxopt_course.training.loop import correct as correct
from jaxopt_course.training.loop import cross_entropy as cross_entropy
from jaxopt_course.training.loop import fit as fit
from jaxopt_course.training.programs import Runs as Runs
from jaxopt_course.training.tensorboard import TensorBoard as TensorBoard

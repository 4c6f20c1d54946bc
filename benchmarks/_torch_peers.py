"""PyHessian and curvlinops on the network of `_mnist_network.py`, their products counted.

A peer that is not installed is None, and the benchmark says so.
"""

import importlib
import sys
import warnings

import torch
from _mnist_network import Setting, in_torch

DTYPE = torch.float64


def optional(name: str):
    """Import a peer, or say that it is left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        print(f"{name} is left out: {error}")
        return None


class PyHessian:
    """PyHessian's `hessian` of the network, which keeps the gradient's graph."""

    def __init__(self, setting: Setting):
        self.package = optional("pyhessian")
        self.products = 0
        if self.package is None:
            return
        module = sys.modules["pyhessian.hessian"]
        plain = self.package.utils.hessian_vector_product

        def counted(*arguments):
            self.products += 1
            return plain(*arguments)

        module.hessian_vector_product = counted
        # Its density calls `torch.eig`, which torch has dropped: lend it one.
        torch.eig = _eig
        model, criterion, images, labels = in_torch(setting)
        self.hessian = self.package.hessian(model, criterion, data=(images, labels), cuda=False)

    def product(self, vectors):
        """Multiply, by the graph that is kept."""
        return self.package.utils.hessian_vector_product(
            self.hessian.gradsH, self.hessian.params, vectors
        )

    def density(self, steps: int, probes: int):
        """Return nodes and weights of each probe."""
        torch.manual_seed(0)
        # It makes its matrices in the default dtype.
        torch.set_default_dtype(DTYPE)
        try:
            return self.hessian.density(iter=steps, n_v=probes)
        finally:
            torch.set_default_dtype(torch.float32)


def _eig(matrix, eigenvectors=True):  # noqa: ARG001
    """Answer as the former `torch.eig` did, for a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return torch.stack([values, torch.zeros_like(values)], dim=1), vectors


def curvlinops_operator(setting: Setting):
    """Return curvlinops and its Hessian of the network, or None twice."""
    package = optional("curvlinops")
    if package is None:
        return None, None
    model, criterion, images, labels = in_torch(setting)
    weights = list(model.parameters())
    operator = package.HessianLinearOperator(
        model, criterion, weights, [(images, labels)], check_deterministic=False
    )
    return package, operator

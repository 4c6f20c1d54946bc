#!/usr/bin/env bash
# torch_optimizer's Shampoo takes other steps for a matrix than for its transpose; it is not Shampoo.
#
# Versions: torch_optimizer 0.3.0, pytorch_optimizer 4.1.0, torch 2.13.0 with NumPy 2.4.6 (installed
#     here).
# Expected: Shampoo (Gupta et al. 2018, algorithm 1) is L^(-1/4) G R^(-1/4), with L the sum of G G' and
#     R of G' G, the same for a matrix stored either way.
# Seen on 2026-11-29: the exponent is -1/2, and R is the sum over the gradient that L has already
#     preconditioned, so the rows are whitened and the columns hardly. After 30 steps the transposed
#     run is 42 % away, and the paper's 47 %; pytorch_optimizer's Shampoo is the paper's both ways.
# Why it matters: torch keeps (outputs, inputs) and others (inputs, outputs): a comparison with
#     Shampoo, or between layouts, measures another rule. Take pytorch_optimizer's, and mind the
#     similar name.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch_optimizer==0.3.0 pytorch_optimizer==4.1.0 torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import pytorch_optimizer
import torch
import torch_optimizer

torch.manual_seed(0)
rows, columns = torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
gradients = [rows * torch.randn(3, 5) * columns for _ in range(30)]


def power(matrix, exponent):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values**exponent @ vectors.T


def paper():
    left, right, weights = 0.1 * torch.eye(3), 0.1 * torch.eye(5), torch.zeros(3, 5)
    for gradient in gradients:
        left, right = left + gradient @ gradient.T, right + gradient.T @ gradient
        weights = weights - 0.1 * power(left, -0.25) @ gradient @ power(right, -0.25)
    return weights


def run(rule, transpose):
    weights = torch.nn.Parameter(torch.zeros(5, 3) if transpose else torch.zeros(3, 5))
    optimizer = rule([weights], lr=0.1)
    for gradient in gradients:
        weights.grad = (gradient.T if transpose else gradient).clone().contiguous()
        optimizer.step()
    return weights.detach().T if transpose else weights.detach()


for library in (torch_optimizer, pytorch_optimizer):
    straight, turned = run(library.Shampoo, False), run(library.Shampoo, True)
    print(
        f"{library.__name__}: transposed {(turned - straight).norm() / straight.norm():.1%} away,",
        f"the paper's {(straight - paper()).norm() / paper().norm():.1%}",
    )
PYTHON
)
expected=$(
  cat <<'EXPECTED'
torch_optimizer: transposed 41.6% away, the paper's 47.5%
pytorch_optimizer: transposed 0.0% away, the paper's 0.0%
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

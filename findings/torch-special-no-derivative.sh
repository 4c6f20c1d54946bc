#!/usr/bin/env bash
# torch's Chebyshev, Hermite, Legendre and newer Bessel functions have no derivative and do not say so.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here); torch 2.14.1 gave the same.
# Expected: polynomials are differentiable; where torch.special lacks a derivative, differentiation
#     raises, as it does for zeta ("the derivative for 'zeta' is not implemented").
# Seen on 2026-11-29: the results of 24 functions do not require a gradient, whatever their input
#     does. So a loss of which they are a part has the gradient of the rest: d/dx (x + T2(x)) at 0.3
#     is 1 instead of 2.2, and torch.func.grad of T2 alone is 0. Only backward() of such a function
#     alone raises. modified_bessel_i0 is one of them; torch.special.i0, the same function, is not.
# Why it matters: features of an orthogonal basis (Kolmogorov-Arnold layers, spectral test
#     functions), penalties and losses made of them train as if they were constant, and their
#     Hessian is zero: a flat direction that is none. Write the recurrence out.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import textwrap

import torch
from torch import special

x = torch.tensor(0.3, requires_grad=True)
(x + special.chebyshev_polynomial_t(x, 2)).backward()
print("d/dx (x + T2(x)):", f"{x.grad.item():.1f}, true {1 + 4 * 0.3:.1f}")
slope = torch.func.grad(lambda x: special.chebyshev_polynomial_t(x, 2))(x)
print("torch.func.grad of T2:", slope.item())
detached = []
for name in sorted(dir(special)):
    for arguments in ((x,), (x, 2)):
        try:
            result = getattr(special, name)(*arguments)
        except Exception:
            continue
        if isinstance(result, torch.Tensor) and not result.requires_grad:
            detached.append(name)
        break
print(len(detached), "functions:")
print(textwrap.fill(" ".join(detached), 96, initial_indent="  ", subsequent_indent="  "))
try:
    special.zeta(x + 2, 1.0).backward()
except RuntimeError as error:
    print(error)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
d/dx (x + T2(x)): 1.0, true 2.2
torch.func.grad of T2: 0.0
24 functions:
  airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 chebyshev_polynomial_t chebyshev_polynomial_u
  chebyshev_polynomial_v chebyshev_polynomial_w hermite_polynomial_h hermite_polynomial_he
  laguerre_polynomial_l legendre_polynomial_p modified_bessel_i0 modified_bessel_i1
  modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1
  shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v
  shifted_chebyshev_polynomial_w spherical_bessel_j0
the derivative for 'zeta' is not implemented.
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

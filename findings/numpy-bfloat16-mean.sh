#!/usr/bin/env bash
# The mean of 1,000 bfloat16 ones is 0.256 in NumPy.
#
# Versions: NumPy 2.4.6 with ml_dtypes 0.6.0 (installed here), the package that gives NumPy the types
#     of jax and of checkpoints; NumPy 2.5.5 gave the same.
# Expected: NumPy adds in pairs, and takes means of float16 in float32, as its documentation says; a
#     mean of bfloat16 is as good as that of float16. jax.numpy's is 1.
# Seen on 2026-11-29: bfloat16 is no kind of floating to NumPy, so there are neither float32 nor
#     pairs: a running sum stops at 256, where 256 + 1 rounds to 256. The mean of 1,000 ones is
#     0.256, of 10,000 ones 0.0256; the variance of alternating 0 and 2, which is 1, comes out as 0.10
#     there. dot and @ are right. Without a warning, and mean() is of the right dtype.
# Why it matters: numpy.asarray(parameters).mean(), sums of squares and accuracies of what a
#     bfloat16 run put out, or of arrays read from safetensors and orbax, are off by factors that
#     grow with the size; statistics of small layers are right. Pass dtype=numpy.float32.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet numpy==2.4.6 ml_dtypes==0.6.0

seen=$("$python" - <<'PYTHON'
import ml_dtypes
import numpy

for dtype in (numpy.float16, ml_dtypes.bfloat16):
    for count in (200, 1000, 10000):
        ones = numpy.ones(count, dtype)
        wave = numpy.tile(numpy.array([0, 2], dtype), count // 2)
        values = (ones.sum(), ones.mean(), wave.var(), ones.mean(dtype="float32"))
        text = "sum {:.0f}, mean {:.4f}, variance {:.2f}, float32 mean {:.1f}".format(*values)
        print(ones.dtype, count, text)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
float16 200 sum 200, mean 1.0000, variance 1.00, float32 mean 1.0
float16 1000 sum 1000, mean 1.0000, variance 1.00, float32 mean 1.0
float16 10000 sum 10000, mean 1.0000, variance 1.00, float32 mean 1.0
bfloat16 200 sum 200, mean 1.0000, variance 1.00, float32 mean 1.0
bfloat16 1000 sum 256, mean 0.2559, variance 1.02, float32 mean 1.0
bfloat16 10000 sum 256, mean 0.0256, variance 0.10, float32 mean 1.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

#!/usr/bin/env bash
# The gradient of a psum is n times larger under vmap(axis_name) and unchecked shard_map than under
# shard_map.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: vmap with an axis name is the stand-in for devices: the same function of one device's
#     weight and datum, differentiated inside, has the same gradient, x, wherever it runs.
# Seen on 2026-11-29: shard_map, which tracks what varies over the axis, gives x. Under vmap, and
#     under shard_map with check_vma=False, each of the n devices' sums sends its cotangent back and
#     they are added: n x. The values agree everywhere.
# Why it matters: a data-parallel step that was tested under vmap on one device trains with another
#     learning rate on the mesh, and curvature along an axis is off by n. Adam hides it, SGD
#     does not. Differentiate outside of the map, or the loss before its psum.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=4 "$python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

inputs = jnp.arange(1.0, 5.0)  # one number a device, or a lane
weights = jnp.ones(4)
mesh = jax.make_mesh((4,), ("i",), axis_types=(AxisType.Auto,))
one = PartitionSpec("i")


def gradient(weight, x):  # of the sum over the axis, with respect to this device's own weight
    return jax.grad(lambda weight: jax.lax.psum(weight * x, "i"))(weight)


def sharded(weights, inputs):
    return jax.vmap(gradient)(weights, inputs)


print("vmap(axis_name):", jax.vmap(gradient, axis_name="i")(weights, inputs))
for check in (True, False):
    over = jax.shard_map(sharded, mesh=mesh, in_specs=(one, one), out_specs=one, check_vma=check)
    print(f"shard_map, check_vma={check}:", over(weights, inputs))
print("by hand:", jax.grad(lambda weights: jnp.sum(weights * inputs))(weights))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
vmap(axis_name): [ 4.  8. 12. 16.]
shard_map, check_vma=True: [1. 2. 3. 4.]
shard_map, check_vma=False: [ 4.  8. 12. 16.]
by hand: [1. 2. 3. 4.]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

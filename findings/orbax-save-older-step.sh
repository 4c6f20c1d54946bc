#!/usr/bin/env bash
# orbax's CheckpointManager saves nothing, without a word, while a run repeats steps of an earlier
# one.
#
# Versions: orbax-checkpoint 0.12.8 with jax 0.10.2 (installed here); jax 0.12.0.1 gave the same.
# Expected: a run taken up again from an older checkpoint overwrites the later ones, or the first
#     save raises: the documentation has ValueError for a checkpoint that exists, and step 15 does
#     not exist at all.
# Seen on 2026-11-29: a step that is not above the latest one in the folder is not due. save returns
#     False at 15, 20, 25 and 30; the folder then holds steps 20 and 30 of the first run beside 35
#     of the second.
# Why it matters: after "go back to step 10 and halve the rate" a crash resumes from the abandoned
#     branch, and a trajectory read from the folder is of two runs. Check what save returns, delete
#     the later steps first, or use a new folder.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 orbax-checkpoint==0.12.8 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import tempfile

import jax.numpy as jnp
import orbax.checkpoint as ocp

folder = tempfile.mkdtemp()
options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
with ocp.CheckpointManager(folder, options=options) as manager:
    for step in (10, 20, 30):
        manager.save(step, args=ocp.args.StandardSave({"run": jnp.array(1)}))
    # The run is taken up again from step 10, with another learning rate.
    for step in (15, 20, 25, 30, 35):
        print("step", step, "saved:", manager.save(step, args=ocp.args.StandardSave({"run": jnp.array(2)})))
    for step in manager.all_steps():
        print("step", step, "is of run", manager.restore(step, args=ocp.args.StandardRestore())["run"])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
step 15 saved: False
step 20 saved: False
step 25 saved: False
step 30 saved: False
step 35 saved: True
step 10 is of run 1
step 20 is of run 1
step 30 is of run 1
step 35 is of run 2
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

#!/usr/bin/env bash
# orbax takes the checkpoint whose metric is NaN for the best, and deletes the best one for it.
#
# Versions: orbax-checkpoint 0.12.8 with jax 0.10.2 (installed here); jax 0.12.0.1 gave the same.
# Expected: keep the best checkpoint by a loss: one whose loss is NaN is never better than one with
#     a number, in either mode.
# Seen on 2026-11-29: the checkpoints are sorted by the metric; NaN, which compares as false, stays
#     where it came in, and that is the end where the best is. After values 0.7, 0.5, nan with
#     best_mode="min" and max_to_keep=1 the diverged state is best_step() and the one of 0.5 is gone
#     from disk; then 0.6 replaces it. The same with best_mode="max".
# Why it matters: the option is there to have the last good state when a run diverges, and just then
#     it is lost. Map NaN to inf (or -inf) in best_fn.

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

for mode, losses in (("min", [0.7, 0.5, float("nan"), 0.6, 0.4]), ("max", [0.7, float("nan"), 0.9, 0.8, 1.0])):
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["value"],
        best_mode=mode,
        max_to_keep=1,
        enable_async_checkpointing=False,
    )
    with ocp.CheckpointManager(tempfile.mkdtemp(), options=options) as manager:
        for step, value in enumerate(losses):
            state = ocp.args.StandardSave({"weight": jnp.array(value)})
            manager.save(step, args=state, metrics={"value": value})
            print(mode, "step", step, "value", value, "best step", manager.best_step(), "kept", manager.all_steps())
PYTHON
)
expected=$(
  cat <<'EXPECTED'
min step 0 value 0.7 best step 0 kept [0]
min step 1 value 0.5 best step 1 kept [1]
min step 2 value nan best step 2 kept [2]
min step 3 value 0.6 best step 3 kept [3]
min step 4 value 0.4 best step 4 kept [4]
max step 0 value 0.7 best step 0 kept [0]
max step 1 value nan best step 1 kept [1]
max step 2 value 0.9 best step 2 kept [2]
max step 3 value 0.8 best step 2 kept [2]
max step 4 value 1.0 best step 4 kept [4]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

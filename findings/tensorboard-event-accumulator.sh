#!/usr/bin/env bash
# TensorBoard's EventAccumulator drops points at random from runs of more than 10,000 steps.
#
# Versions: tensorboard 2.21.0.
# Expected: EventAccumulator is how event files are read from Python, so Scalars(tag) gives every
#     scalar that was written; thinning is a matter of the web page.
# Seen on 2026-11-29: by default a reservoir of 10,000 scalars is kept: half of a run of 20,000
#     steps is missing, without a warning. size_guidance={'scalars': 0} keeps all.
# Why it matters: a loss curve's spikes, the step at which a threshold was first crossed, and
#     averages over steps are taken from a sample whose gaps differ from run to run.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet tensorboard==2.21.0
mkdir "$folder/run"

seen=$("$python" - "$folder/run" <<'PYTHON'
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

writer = EventFileWriter(sys.argv[1])
for step in range(20000):
    loss = 1000.0 if step == 7 else 1.0
    writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=loss)])))
writer.close()
for guidance in (None, {"scalars": 0}):
    reader = EventAccumulator(sys.argv[1], size_guidance=guidance)
    reader.Reload()
    print(guidance, len(reader.Scalars("loss")))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
None 10000
{'scalars': 0} 20000
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi

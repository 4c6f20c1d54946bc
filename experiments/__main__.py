"""`python -m experiments`: see `experiments.lab.cli`."""

import os
import sys

if __name__ == "__main__":
    # One JAX device a core, so that a batch of runs uses all of them. JAX reads this when it is
    # first imported; `sched_getaffinity` counts the cores that this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))

    from .lab.cli import main

    sys.exit(main())

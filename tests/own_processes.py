"""Scripts beside the tests, in processes of their own: to be killed, or several together."""

import argparse
import os
import socket
import subprocess
import sys

import jax


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def start(script, *words):
    """Start a script; what it prints can be read from its `stdout`."""
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, words)],
        env=dict(os.environ, JAX_PLATFORMS="cpu", PYTHONPATH=os.getcwd()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_together(script, *words, processes):
    """Let a script run in several processes that know of each other, and see it succeed."""
    common = (*words, "--processes", processes, "--port", free_port(), "--process")
    started = [start(script, *common, process) for process in range(processes)]
    try:
        outputs = [process.communicate(timeout=250)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * processes, outputs


def parser():
    """Return the parser of such a script: of its folder and of what `run_together` says."""
    made = argparse.ArgumentParser()
    made.add_argument("folder")
    for name in ("processes", "process", "port"):
        made.add_argument(f"--{name}", type=int)
    return made


def join(options):
    """Connect to the others; return whether there are any."""
    if options.processes is None:
        return False
    jax.distributed.initialize(f"localhost:{options.port}", options.processes, options.process)
    return True

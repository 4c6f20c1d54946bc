"""The library on accelerators: how fast where there is one, what is predicted where there is none.

    python benchmarks/accelerators.py                 the race; without a device, its prediction
    python benchmarks/accelerators.py --compile       compile everything; the table in the docs
    python benchmarks/accelerators.py --compile --devices H100 --only escape
    python benchmarks/accelerators.py --compile --write --missing --limit 600

`make accelerators` makes an environment with the compilers for TPUs and NVIDIA's GPUs and runs the
second. The race takes some three minutes on a device: escaping the octopus by gradient descent and
by perturbed gradient descent, classifying points, and an epoch of training, each beside what one
writes without this library. The prediction of a step is

    kernels * launch + looks * look + bytes / bandwidth,

from the program that the compiler makes for that device, and the device's data in `_compile.py`.
"""

import argparse
import functools
import multiprocessing
import os
import re
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _compile
import _programs
import jax

PAGE = Path(__file__).parents[1] / "docs" / "accelerators.md"
HEADING = "| program | device | compiles | kernels a step | in loops inside | looks a step | "
HEADING += "bytes a step | memory | flops |\n|---|---|---|--:|--:|--:|--:|--:|--:|\n"


def report(
    name: str, program: _programs.Program, device: str
) -> tuple[str, _compile.Report | None]:
    """Compile a program for a device; return whether it does, and what it then is."""
    try:
        with jax.enable_x64(program.wide):
            found, _ = _compile.compile_for(
                _compile.DEVICES[device],
                program.function,
                *program.arguments,
                loops=program.loops,
                is_quick=program.is_quick,
            )
    except Exception as error:
        print(f"{name} for {device}: {error}", file=sys.stderr)
        return f"no: {type(error).__name__}", None
    return "yes", found


def row(name: str, device: str, compiles: str, found: _compile.Report | None) -> str:
    cells = [name, device, compiles]
    if found is None:
        cells += ["", "", "", "", "", ""]
    else:
        cells += [f"{count:.3g}" for count in found[:3]] + [size(found.traffic)]
        cells += [size(found.memory), "" if found.flops is None else f"{found.flops:.2g}"]
    return f"| {' | '.join(cells)} |"


def size(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def write(rows: dict[tuple[str, str], str]) -> None:
    """Put rows into the page's table, in the place of those of the same program and device.

    It has a row for every program and device afterwards, also where no compiler was tried.
    """
    text, _, table = PAGE.read_text(encoding="utf-8").partition(HEADING)
    old = {
        tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in table.splitlines()
    }
    names = [*_programs.programs()]
    wanted = {
        (name, device): row(name, device, "not tried", None)
        for name in names
        for device in _compile.DEVICES
        if _programs.left_out(name, device) is None
    }
    merged = {key: line for key, line in (wanted | old | rows).items() if key in wanted}
    order = sorted(merged, key=lambda key: (names.index(key[0]), [*_compile.DEVICES].index(key[1])))
    lines = "".join(f"{merged[key]}\n" for key in order)
    # Whole or not at all: what runs for hours is interrupted, and taken up again by `--missing`.
    temporary = PAGE.with_name(f"{PAGE.name}.{os.getpid()}")
    temporary.write_text(text + HEADING + lines, encoding="utf-8")
    temporary.replace(PAGE)


def written(limit: int) -> set[tuple[str, str]]:
    """Programs and devices of the page's table that compile, or do not within the limit."""
    _, _, table = PAGE.read_text(encoding="utf-8").partition(HEADING)
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()]
    late = re.compile(r"not in (\d+) s")
    return {
        (name, device)
        for name, device, compiles in rows
        if compiles == "yes" or ((said := late.match(compiles)) and int(said[1]) >= limit)
    }


class Compiler:
    """A process that compiles, and is ended when one program takes too much of the processor.

    XLA cannot be interrupted; the system ends a process at its limit, whatever it does.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._process: Any = None

    def __call__(self, name: str, device: str) -> tuple[str, _compile.Report | None]:
        """What `report` returns of a program, or that the limit was reached, or the end of it."""
        if self._process is None or not self._process.is_alive():
            method = multiprocessing.get_context("spawn")
            self._pipe, end = method.Pipe()
            self._process = method.Process(target=serve, args=(end, self.limit), daemon=True)
            self._process.start()
            end.close()  # So that the end of the process ends what it says.
        self._pipe.send((name, device))
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            if self._process.exitcode == -signal.SIGXCPU:
                return f"not in {self.limit} s", None
            return f"no: exit {self._process.exitcode}", None

    def end(self) -> None:
        """End the process, which has nothing to tidy up."""
        if self._process is not None:
            self._process.kill()


def serve(pipe: Any, limit: int) -> None:
    """Compile what is asked for, each with so many seconds of the processor, all threads'."""
    programs = _programs.programs()
    while True:
        name, device = pipe.recv()
        used = resource.getrusage(resource.RUSAGE_SELF)
        until = int(used.ru_utime + used.ru_stime) + limit
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
        pipe.send(report(name, programs[name], device))


def compile_all(
    devices: list[str],
    only: list[str],
    without: list[str],
    *,
    write_page: bool,
    missing: bool,
    limit: int,
) -> int:
    """Compile programs with a word of `only` and none of `without`; return how many were refused.

    The page's rows are written one by one, those first that compile quickly; with `missing`, those
    alone that are not there. What takes longer than `limit` seconds is said to.
    """
    compiler = Compiler(limit)
    refused = 0
    chosen = {
        name: program
        for name, program in _programs.programs().items()
        if any(word in name for word in only) and not any(word in name for word in without)
    }
    for name in sorted(chosen, key=_programs.is_slow):
        for device in devices:
            if _programs.left_out(name, device) or (missing and (name, device) in written(limit)):
                continue
            began = time.perf_counter()
            compiles, found = compiler(name, device)
            refused += compiles.startswith("no:")
            line = row(name, device, compiles, found)
            print(line, f"{time.perf_counter() - began:.1f} s", flush=True)
            if write_page:
                write({(name, device): line})
    compiler.end()
    return refused


# What is raced, and against which program of the obvious way; all steps are 300, or one epoch.
RACES = {
    "escape, gradient_descent, float32": "the obvious way, sgd",
    "escape, perturbed_gradient_descent, float32": "the obvious way, noisy_sgd",
    f"classify, order 2, {_programs.LANES} points": "the obvious way, eigvalsh",
    "training epoch, MLP": "the obvious way, a step at a time",
}


def predicted(found: _compile.Report, device: _compile.Device) -> float:
    """Seconds a step by the formula above; one pass of the loops inside is counted."""
    kernels = found.kernels + found.inner
    bound = found.traffic / device.bandwidth
    return kernels * device.launch + found.looks * device.look + bound


def predict(devices: list[str]) -> None:
    """Print what a step of either side of each race takes, as predicted."""
    programs = _programs.programs()
    for device in devices:
        for ours, theirs in RACES.items():
            seconds = {}
            for name in (ours, theirs):
                compiles, found = report(name, programs[name], device)
                if found is None:
                    print(f"{device}: {name} cannot be compiled here ({compiles})")
                    break
                seconds[name] = predicted(found, _compile.DEVICES[device])
            else:
                print(
                    f"{device}: {ours}: predicted {1e6 * seconds[ours]:.1f} us a step, {theirs} "
                    f"{1e6 * seconds[theirs]:.1f}, ratio {seconds[theirs] / seconds[ours]:.2f}",
                    flush=True,
                )


def compiled(program: _programs.Program) -> Callable[[], Any]:
    """A call of a program on arguments that are really there, compiled by a first one."""
    call = functools.partial(jax.jit(program.function), *_programs.concrete(program.arguments))
    jax.block_until_ready(call())
    return lambda: jax.block_until_ready(call())


def race(seconds: float) -> None:
    """Run both sides of each race in turn for so many seconds and print rates and ratios."""
    programs = _programs.programs()
    print(f"on {jax.devices()[0].device_kind}")
    for ours, theirs in RACES.items():
        calls = {name: compiled(programs[name]) for name in (ours, theirs)}
        times: dict[str, list[float]] = {name: [] for name in calls}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(values) for name, values in times.items()}
        ratio = statistics.median(b / a for a, b in zip(times[ours], times[theirs], strict=True))
        rounds = len(times[ours])
        each = ", ".join(f"{name} {1e3 * median:.2f} ms" for name, median in medians.items())
        print(f"{each}, ratio {ratio:.2f} ({rounds} rounds)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="compile instead of running")
    parser.add_argument("--write", action="store_true", help="put what was compiled into the docs")
    single = [name for name, device in _compile.DEVICES.items() if device.chips == 1]
    parser.add_argument("--devices", nargs="+", choices=_compile.DEVICES, default=single)
    parser.add_argument(
        "--only", nargs="+", default=[""], help="programs with one of these in their name"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], help="no programs with one of these in their name"
    )
    parser.add_argument("--missing", action="store_true", help="only what the page does not have")
    parser.add_argument(
        "--limit", type=int, default=1800, help="seconds of the processor for each to compile"
    )
    parser.add_argument("--seconds", type=float, default=40, help="of each race")
    options = parser.parse_args()
    if options.compile:
        refused = compile_all(
            options.devices,
            options.only,
            options.without,
            write_page=options.write,
            missing=options.missing,
            limit=options.limit,
        )
        sys.exit(refused > 0)
    elif jax.default_backend() == "cpu":
        print("no accelerator here; what follows is predicted from compiled programs")
        predict(options.devices)
    else:
        race(options.seconds)


if __name__ == "__main__":
    main()

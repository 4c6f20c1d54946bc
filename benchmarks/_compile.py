"""Programs compiled for TPUs and GPUs that are not there, and what their machine code tells.

The compilers are those of `libtpu` and `jax-cuda13-plugin`; nothing is executed. The topology of a
TPU has a name; that of a GPU is made from XLA's description of the device, in text.

A *kernel* is an instruction of the optimized program that is launched by itself: a fusion, a copy,
a sort, a library call. A *look* is a decision that waits for the device: a pass of a `while`, whose
condition is computed there, or a branch.
"""

import contextlib
import math
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

# Without these libtpu looks for a metadata server.
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

import jax
import numpy as np
from jax.experimental import topologies

from jaxopt_course._platforms import rhythm, traced_for


class Device(NamedTuple):
    """A device to compile for, and what the prediction takes from its data sheet.

    Attributes:
        platform: "tpu" or "cuda".
        topology: Name of the TPU's topology, or the GPU's description for XLA.
        bandwidth: Bytes a second to and from memory.
        launch: Seconds that a kernel costs at least, the next one being ready.
        look: Seconds until the host, or the scalar core, has seen a condition and gone on.
        chips: Of one topology, among which the first axis of a program's arguments is divided.
    """

    platform: str
    topology: str
    bandwidth: float
    launch: float
    look: float
    chips: int = 1


# XLA's own description of a GPU, `GpuTargetConfigProto`; numbers are those of the data sheets.
_GPU = """
gpu_device_info {{ threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {shared} threads_per_core_limit: 2048 core_count: {cores}
  fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {cache} clock_rate_ghz: {clock}
  device_memory_size: {memory} shared_memory_per_block_optin: {optin}
  cuda_compute_capability {{ major: {major} minor: 0 }} registers_per_core_limit: 65536
  registers_per_block_limit: 65536 }}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }}
device_description_str: "{name}"
"""
_H100 = {
    "name": "NVIDIA H100 80GB HBM3",
    "major": 9,
    "cores": 132,
    "fpus": 128,
    "shared": 233472,
    "optin": 232448,
    "cache": 52428800,
    "clock": 1.98,
    "memory": 84978434048,
    "bandwidth": 3352320000000,
}
_A100 = _H100 | {
    "name": "NVIDIA A100-SXM4-80GB",
    "major": 8,
    "cores": 108,
    "fpus": 64,
    "shared": 167936,
    "optin": 166912,
    "cache": 41943040,
    "clock": 1.41,
    "memory": 85049933824,
    "bandwidth": 2039000000000,
}

DEVICES = {
    "TPU v5e": Device("tpu", "v5e:2x2", 819e9, 1e-6, 2e-6),
    "TPU v6e": Device("tpu", "v6e:2x2", 1640e9, 1e-6, 2e-6),
    "4 TPU v5e": Device("tpu", "v5e:2x2", 819e9, 1e-6, 2e-6, chips=4),
    "H100": Device("cuda", _GPU.format(**_H100), _H100["bandwidth"], 3e-6, 10e-6),
    "A100": Device("cuda", _GPU.format(**_A100), _A100["bandwidth"], 3e-6, 10e-6),
}


def mesh(device: Device) -> jax.sharding.Mesh:
    """The chips of the device's topology that a program's arguments are divided among.

    Raises:
        RuntimeError: if the compiler for it is not installed.
    """
    if device.platform == "tpu":
        described = topologies.get_topology_desc(platform="tpu", topology_name=device.topology)
    else:
        try:
            import jax_plugins.xla_cuda13
        except ImportError as error:
            raise RuntimeError("jax-cuda13-plugin is not installed") from error
        jax.devices("cpu")  # This looks for plugins, and may pass over one without a GPU.
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # It is there already.
            jax_plugins.xla_cuda13.initialize()
        described = topologies.get_topology_desc(
            "GPU", platform="cuda", topology="1x1x1", target_config=device.topology
        )
    return jax.sharding.Mesh(np.array(described.devices[: device.chips]), ("members",))


class Report(NamedTuple):
    """What a compiled program is made of.

    Attributes:
        kernels: Kernels of a step.
        inner: Kernels of a pass of the loops inside the step, all loops together; 0 without any.
        looks: Looks a step, one pass of every loop inside taken.
        traffic: Bytes that the step's kernels read and write.
        memory: Bytes that the whole program needs, its arguments and results included.
        flops: Of the whole program as it was traced, loops counted once; None if not to be had.
    """

    kernels: float
    inner: float
    looks: float
    traffic: float
    memory: int
    flops: float | None


def compile_for(
    device: Device,
    function: Callable[..., Any],
    *arguments: Any,
    loops: int,
    is_quick: bool = False,
) -> tuple[Report, str]:
    """Compile a function for a device and read what has become of it.

    Args:
        device: Which.
        function: The program.
        *arguments: Pytrees of shapes.
        loops: How many loops stand around a step; 0 if all is one step.
        is_quick: Whether the last of these takes several steps before it looks, and a loop of a
            fixed number of passes within it takes them; see `jaxopt_course._platforms.rhythm`.

    Returns:
        The report, and the optimized program's text.
    """
    # To keep a compiled program takes the device that it is for.
    jax.config.update("jax_enable_compilation_cache", False)
    chips = mesh(device)

    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        divided = device.chips > 1 and leaf.ndim > 0 and leaf.shape[0] % device.chips == 0
        axes = jax.sharding.PartitionSpec(*(["members"] if divided else []))
        sharding = jax.sharding.NamedSharding(chips, axes)
        if device.chips == 1:
            sharding = jax.sharding.SingleDeviceSharding(chips.devices.item())
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    placed = jax.tree.map(place, arguments)
    with traced_for(device.platform):
        compiled = jax.jit(function).lower(*placed).compile()
        several, at_a_time = rhythm() if is_quick else (1, 1)
    text = compiled.as_text()
    memory = compiled.memory_analysis()
    total = sum(getattr(memory, f"{name}_size_in_bytes") for name in ("temp", "argument", "output"))
    flops = (compiled.cost_analysis() or {}).get("flops")  # GPUs' programs do not say.
    # A TPU's core does arithmetic of single numbers by the way.
    program = _Program(text, scalars_are_free=device.platform == "tpu")
    kernels, inner, looks, traffic = program.count(program.step(loops))
    looks += loops > 0
    if several > 1:
        # What comes with a look, and what one or two steps are; a loop whose number of passes is
        # fixed needs no look.
        together = program.count(program.step(loops + 1))
        around = (kernels, 0, looks - together[2] - 1, traffic)
        kernels, inner, looks, traffic = (
            seldom / several + often / at_a_time
            for seldom, often in zip(around, together, strict=True)
        )
    return Report(kernels, inner, looks, traffic, total, flops), text


# What costs nothing at run time, or is counted through what it calls.
_NO_KERNEL = {
    *("parameter", "get-tuple-element", "tuple", "bitcast", "constant", "while", "conditional"),
    *("call", "after-all", "copy-done", "async-done", "partition-id", "replica-id"),
    *("opt-barrier", "add-dependency"),
}
_MAY_REDUCE = {"fusion", "reduce", "custom-call", "dot", "copy"}
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f64": 8, "s64": 8, "u64": 8}
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16)\[([\d,]*)\]")


class _Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    rest: str

    @property
    def size(self) -> int:
        """Bytes of its result."""
        return sum(
            _BYTES.get(dtype, 4) * math.prod(int(n) for n in dimensions.split(",") if n)
            for dtype, dimensions in _SHAPE.findall(self.shape)
        )

    @property
    def is_scalar(self) -> bool:
        """Whether it computes numbers from numbers."""
        shapes = _SHAPE.findall(self.shape)
        return self.opcode not in _MAY_REDUCE and not any(dimensions for _, dimensions in shapes)

    @property
    def operands(self) -> list[str]:
        return re.findall(r"%([\w.\-]+)", self.rest.split("), ")[0])

    @property
    def called(self) -> list[str]:
        """The body of a `while`, or what a `conditional` or a `call` goes on with."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.rest)
        if listed:
            return [name.strip().lstrip("%") for name in listed.group(1).split(",")]
        words = "body" if self.opcode == "while" else "to_apply|true_computation|false_computation"
        return re.findall(rf"(?:{words})=%?([\w.\-]+)", self.rest)


def _computations(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Split a program into its computations; the second result names the first to run."""
    found: dict[str, list[_Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if head := re.match(r"^(?:ENTRY )?%?([\w.\-]+)(?: \(.*| )\{$", line):
            current = head.group(1)
            found[current] = []
            entry = current if line.startswith("ENTRY") else entry
        elif current and (match := _INSTRUCTION.match(line)):
            found[current].append(_Instruction(*match.groups()))
    return found, entry


class _Program:
    """The computations of a program, and what one pass of each costs."""

    def __init__(self, text: str, *, scalars_are_free: bool) -> None:
        self.computations, self.entry = _computations(text)
        self.scalars_are_free = scalars_are_free

    def is_free(self, instruction: _Instruction) -> bool:
        """Whether the device does it by the way."""
        return self.scalars_are_free and instruction.is_scalar

    def step(self, loops: int) -> str:
        """The computation inside so many loops: on every level, of the one that holds most."""
        found = self.entry
        for _ in range(loops):
            found = max(self.whiles(found), key=lambda name: sum(self.count(name)[:2]))
        return found

    def whiles(self, name: str) -> list[str]:
        """Bodies of the loops in a computation, those in its branches included."""
        found = []
        for instruction in self.computations[name]:
            if instruction.opcode == "while":
                found += instruction.called
            elif instruction.opcode in ("conditional", "call"):
                found += [loop for called in instruction.called for loop in self.whiles(called)]
        return found

    def count(self, name: str) -> tuple[int, int, int, int]:
        """Kernels, kernels in loops, looks, and bytes read and written, of one pass."""
        total = (0, 0, 0, 0)
        sizes = {instruction.name: instruction.size for instruction in self.computations[name]}
        for instruction in self.computations[name]:
            if instruction.opcode == "while":
                kernels, inner, looks, _ = self.count(*instruction.called)
                one = (0, kernels + inner, looks + 1, 0)
            elif instruction.opcode in ("conditional", "call"):
                dearest = max((self.count(called) for called in instruction.called), default=total)
                branch = int(instruction.opcode == "conditional")
                one = (dearest[0], dearest[1], dearest[2] + branch, dearest[3])
            elif instruction.opcode in _NO_KERNEL or (
                self.scalars_are_free and instruction.is_scalar
            ):
                continue
            else:
                read = sum(sizes.get(operand, 0) for operand in instruction.operands)
                one = (1, 0, 0, instruction.size + read)
            total = tuple(map(sum, zip(total, one, strict=True)))
        return total

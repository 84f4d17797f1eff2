"""The Accelerator: ranks, device, precision, and what the launch promised against what came.

The recipe owns the numbers (global batch, precision, seed), the launch file owns the machines
(processes, nodes). A launch file that also names a precision must agree with the recipe.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import UserError
from srae_dist.core.machine import available_cores
from srae_dist.core.memory import keep_freed_memory

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

TIMEOUT = 1800.0  # seconds
_NCCL_LATER = 60.0  # seconds: it ends the process where the host's group can still say why
_LAUNCHER_PROGRAMS = ("accelerate", "accelerate-launch", "torchrun")
_LAUNCHER_MODULES = ("accelerate.commands", "torch.distributed")
_LAUNCH_WORDS = {"launch", "accelerate-launch", "accelerate.commands.launch"}
_ACCELERATE_NAMES = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True, slots=True)
class World:
    """The processes of this run, and where this one stands."""

    rank: int
    size: int
    local_size: int
    machines: int
    device: torch.device
    visible_gpus: int
    threads: int
    launched: bool  # the parent process is accelerate's or torch's launcher

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def describe(self) -> str:
        """One line on ranks, machines and device, with a hint where GPUs lie idle."""
        ranks, machines = _count(self.size, "rank"), _count(self.machines, "machine")
        where = f"{self.device.type}" + (
            f", {_count(self.threads, 'thread')} each" if self.device.type == "cpu" else ""
        )
        hint = ""
        if self.device.type == "cuda" and self.visible_gpus > self.local_size:
            hint = (
                f"; {self.visible_gpus} GPUs visible, {self.local_size} used: "
                f"add --multi_gpu --num_processes {self.visible_gpus * self.machines}"
            )
        return f"{ranks} on {machines}, {where}{hint}"


def join_world(threads: int | None = None, *, timeout: float = TIMEOUT) -> World:
    """Join the other processes of the launch, and settle this one's CPU threads and memory.

    Args:
        threads: CPU threads of this process; None shares the cores among the machine's ranks. The
            launcher exports OMP_NUM_THREADS=1 on machines without a GPU, which is no one's wish.
        timeout: seconds after which a rank that does not answer is given up.

    Raises:
        UserError: the launch command asked for more processes than it started.
    """
    keep_freed_memory()
    import torch
    from accelerate import PartialState

    if "WORLD_SIZE" in os.environ:  # gloo guesses an interface; one machine needs none
        local = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
        if local and Path("/sys/class/net/lo").exists():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1 and not torch.accelerator.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"  # else each rank would be a world of its own
    atexit.register(_leave_gloo)
    cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    if torch.cuda.is_available() and not cpu:
        timeout += _NCCL_LATER
    state = PartialState(cpu=cpu, **({"timeout": timedelta(seconds=timeout)} if ranks > 1 else {}))
    exact_fp32()
    if "WORLD_SIZE" in os.environ and state.num_processes != ranks:
        raise UserError(
            f"The launcher started {ranks} processes, but each stands alone; check use_cpu and "
            "distributed_type in the launch file (docs/launch/ has working ones)."
        )
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes))
    parent = _parent_command()
    _check_promise(state.num_processes, parent)
    if threads is None:
        threads = max(1, available_cores() // max(1, local_size))
    if state.device.type == "cpu":
        torch.set_num_threads(threads)
    return World(
        rank=state.process_index,
        size=state.num_processes,
        local_size=local_size,
        machines=max(1, state.num_processes // max(1, local_size)),
        device=state.device,
        visible_gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0,
        threads=threads,
        launched=_is_launcher(parent),
    )


def exact_fp32() -> None:
    """Let fp32 be fp32 on GPUs, too: by default their convolutions round to ten bits (TF32)."""
    import torch

    torch.backends.cudnn.allow_tf32 = False


def host_group(timeout: timedelta) -> Any:
    """Return a group of all ranks that talk on the host, whatever device computes; left at exit.

    What is said there does not queue behind a device's work, and a silent rank is an error that
    can be caught, where NCCL would end the process. A collective call.
    """
    import torch.distributed as dist

    group = dist.new_group(backend="gloo", timeout=timeout)
    atexit.register(_leave, group)
    return group


def insist_on_determinism() -> None:
    """Use only kernels that give the same bits twice; what has none raises. Before any of them."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS begins
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def _leave(group: Any) -> None:
    import torch.distributed as dist

    with contextlib.suppress(ValueError):  # left already, with the whole world
        if dist.is_initialized():
            dist.destroy_process_group(group)


def _leave_gloo() -> None:
    """End gloo's threads before the interpreter ends, or they may abort a process that is done."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized() and dist.get_backend() == "gloo":
        dist.destroy_process_group()


def least(number: int, world: World) -> int:
    """Return the smallest number that any rank has; all ranks call it together."""
    import torch

    if world.size == 1:
        return number
    numbers = torch.tensor(number, device=world.device)
    torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MIN)
    return int(numbers)


def choose_precision(wanted: str, device: torch.device) -> str:
    """Resolve ``auto`` to what the hardware computes natively, and check it against the launch.

    Raises:
        UserError: the launch names another precision than the recipe, or the device lacks it.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION") or "no"
    chosen = wanted if wanted != "auto" else ("bf16" if has_bf16(device) else "fp32")
    # "no" is what the launcher exports when nobody said anything
    if launched not in ("no", chosen):
        raise UserError(
            f"The launch asks for mixed_precision {launched}, the recipe's train.precision = "
            f"{wanted} means {chosen} here; take mixed_precision out of the launch file, or "
            "give train.precision the same value."
        )
    if chosen == "fp16" and device.type == "cpu":
        raise UserError("train.precision = fp16 needs a GPU; use bf16, fp32 or auto on a CPU.")
    return chosen


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (AVX512-BF16, AMX, Ampere or newer)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
    return False


def make_accelerator(
    *,
    precision: str,
    accumulation: int,
    trackers: Sequence[str],
    run_dir: Path,
    shared_buffers: bool = False,  # each step begins with the first rank's buffers on all
) -> Accelerator:
    """Build the Accelerator for a run.

    Raises:
        UserError: a tracker that is unknown or not installed.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import ProjectConfiguration

    known = {str(name) for name in LOGGER_TYPE_TO_CLASS}
    installed = {str(name) for name in get_available_trackers()}
    for name in trackers:
        if name not in known:
            raise UserError(
                f"run.trackers: '{name}' is unknown; known are {', '.join(sorted(known))}."
            )
        if name not in installed:
            raise UserError(f"run.trackers: '{name}' is not installed; run `pip install {name}`.")
    # torch 2.14 has a new name for it, which accelerate 1.15 does not pass on
    warnings.filterwarnings("ignore", message=r"`broadcast_buffers` is deprecated")
    return Accelerator(
        mixed_precision=_ACCELERATE_NAMES[precision],
        gradient_accumulation_steps=accumulation,
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(run_dir), logging_dir=str(run_dir)),
        # every parameter gets a gradient at every step
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                broadcast_buffers=shared_buffers, gradient_as_bucket_view=True
            )
        ],
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _parent_command() -> list[str]:
    """The command line of the process that started this one, or nothing."""
    import psutil

    try:
        return list(psutil.Process(os.getppid()).cmdline())
    except psutil.Error:
        return []


def _is_launcher(command: Sequence[str]) -> bool:
    """Whether a command line is accelerate's or torch's launcher (its interpreter may lead)."""
    return any(
        Path(word).name in _LAUNCHER_PROGRAMS or word.startswith(_LAUNCHER_MODULES)
        for word in command[:4]
    )


def _check_promise(got: int, command: Sequence[str]) -> None:
    """Refuse to train on fewer ranks than `accelerate launch` was asked for."""
    launches = not _LAUNCH_WORDS.isdisjoint(Path(word).name for word in command[:4])
    promised = _promised(command) if launches and got == 1 else 1
    if promised > got:
        raise UserError(
            f"accelerate launch was asked for {promised} processes and started {got} (--cpu and "
            "distributed_type: NO start only one); use a config file with distributed_type: "
            "MULTI_GPU, and use_cpu: true for CPUs (docs/launch/cpu_2_ranks.yaml), or add "
            "--multi_gpu for GPUs."
        )


def _promised(command: Sequence[str]) -> int:
    """Processes that a launch command, or else its config file, asks for."""
    options = _options(command)
    if options.get("num_processes", "").isdigit():
        return int(options["num_processes"])
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file

    file = options.get("config_file", default_config_file)
    if not Path(file).is_file():
        return 1
    return int(getattr(load_config_from_file(file), "num_processes", None) or 1)


def _options(command: Sequence[str]) -> dict[str, str]:
    """``--some-option value`` and ``--some_option=value`` of a command line, by name."""
    found = {}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            found[name[2:].replace("-", "_")] = value if equals else following
    return found

"""Precision, promises and the line that says where a run is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from srae_dist.bench.naive import as_torch_comes
from srae_dist.core.errors import UserError
from srae_dist.runtime import launch
from srae_dist.runtime.launch import World, choose_precision, make_accelerator

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def no_config_of_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``accelerate config`` once wrote on this machine must not decide these tests."""
    from accelerate.commands.config import config_args

    monkeypatch.setattr(config_args, "default_config_file", str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("launched", [None, "", "no"])
@pytest.mark.parametrize("wanted", ["auto", "fp32", "bf16", "fp16"])
def test_the_recipe_decides_where_the_launch_says_nothing(
    wanted: str, launched: str | None, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_launch(monkeypatch, launched, bf16=bf16)
    auto = "bf16" if bf16 else "fp32"
    assert choose_precision(wanted, GPU) == (auto if wanted == "auto" else wanted)


@pytest.mark.parametrize("launched", ["bf16", "fp16", "fp8"])
@pytest.mark.parametrize("wanted", ["auto", "fp32", "bf16", "fp16"])
def test_a_launch_that_names_a_precision_must_agree(
    wanted: str, launched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_launch(monkeypatch, launched, bf16=True)
    chosen = "bf16" if wanted == "auto" else wanted
    if launched == chosen:
        assert choose_precision(wanted, GPU) == chosen
    else:
        with pytest.raises(
            UserError, match=rf"{launched}.*train\.precision.*{chosen}.*launch file"
        ):
            choose_precision(wanted, GPU)


def test_fp16_on_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_launch(monkeypatch, None, bf16=True)
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)


def set_launch(patch: pytest.MonkeyPatch, launched: str | None, *, bf16: bool) -> None:
    patch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    if launched is not None:
        patch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    patch.setattr(launch, "has_bf16", lambda device: bf16)


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bf16_needs_ampere(
    capability: tuple[int, int], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older GPUs emulate it slowly, and torch says they have it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert launch.has_bf16(GPU) is has


@pytest.mark.parametrize(
    "words",
    [
        "accelerate launch --cpu --num_processes 2 -m srae_dist.train x",
        "/usr/bin/python /usr/bin/accelerate launch --num_processes=2 --cpu -m srae_dist.train x",
        "accelerate launch --num-processes 8 -m srae_dist.train x",
        "/usr/bin/python /usr/bin/accelerate-launch --cpu --num_processes 2 -m srae_dist.train x",
        "python -m accelerate.commands.launch --cpu --num_processes 2 -m srae_dist.train x",
    ],
)
def test_a_broken_promise_is_refused(words: str) -> None:
    with pytest.raises(UserError, match=r"asked for \d processes and started 1"):
        launch._check_promise(1, words.split())


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (1, "accelerate launch -m srae_dist.train x"),
        (1, "accelerate launch --num_processes 1 -m srae_dist.train x"),
        (2, "accelerate launch --num_processes 2 -m srae_dist.train x"),
        (1, "make train --num_processes 2"),
        (1, "make all the models and launch --num_processes 2"),
        (1, "accelerate launch --num_processes"),
        (1, "accelerate launch --num_processes many"),
        (1, "bash"),
        (1, ""),
    ],
)
def test_other_commands_promise_nothing(got: int, words: str) -> None:
    launch._check_promise(got, words.split())


def world(**values: object) -> World:
    base = {"rank": 0, "size": 1, "local_size": 1, "machines": 1, "device": CPU}
    return World(**{**base, "visible_gpus": 0, "threads": 4, "launched": False, **values})  # type: ignore[arg-type]


def test_one_line_says_where_a_run_is() -> None:
    assert world().describe() == "1 rank on 1 machine, cpu, 4 threads each"
    two = world(size=2, local_size=2, threads=1)
    assert two.describe() == "2 ranks on 1 machine, cpu, 1 thread each"
    cluster = world(size=16, local_size=8, machines=2, device=GPU, visible_gpus=8)
    assert cluster.describe() == "16 ranks on 2 machines, cuda"


def test_idle_gpus_are_pointed_out() -> None:
    said = world(device=GPU, visible_gpus=8).describe()
    assert said.endswith("8 GPUs visible, 1 used: add --multi_gpu --num_processes 8")
    assert "visible" not in world(device=CPU, visible_gpus=8).describe()  # asked for the CPU
    half = world(size=8, local_size=4, machines=2, device=GPU, visible_gpus=8).describe()
    assert half.endswith("4 used: add --multi_gpu --num_processes 16")  # counted over machines


def test_only_the_first_rank_is_main() -> None:
    assert world().is_main
    assert not world(rank=1, size=2).is_main


def test_ranks_that_stand_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher set WORLD_SIZE, and accelerate made a world of one."""
    import accelerate

    class Alone:
        num_processes, process_index, device = 1, 0, CPU

        def __init__(self, cpu: bool, timeout: object) -> None:
            self.cpu = cpu

    monkeypatch.setattr(accelerate, "PartialState", Alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with pytest.raises(UserError, match="started 2 processes, but each stands alone"):
        launch.join_world()


@pytest.mark.parametrize(("given", "threads"), [(None, 3), (5, 5)])
def test_a_rank_finds_its_place(
    given: int | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 2 of two machines' four; each machine's six cores are shared by its two ranks."""
    import accelerate

    class Third:
        num_processes, process_index, device = 4, 2, CPU

        def __init__(self, cpu: bool, timeout: object) -> None:
            assert cpu  # without a GPU each rank would be a world of its own

    command = ["python", "/venv/bin/torchrun", "--nnodes", "2"]
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch comes
    set_threads: list[int] = []
    monkeypatch.setattr(accelerate, "PartialState", Third)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", set_threads.append)
    monkeypatch.setattr(launch, "available_cores", lambda: 6)
    monkeypatch.setattr(launch, "_parent_command", lambda: command)
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    for name in ("ACCELERATE_USE_CPU", "GLOO_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "")  # put back after the test
        monkeypatch.delenv(name)
    found = launch.join_world(given)
    assert (found.rank, found.size, found.local_size, found.machines) == (2, 4, 2, 2)
    assert found.launched
    assert not torch.backends.cudnn.allow_tf32  # fp32 is fp32
    assert set_threads == [found.threads] == [threads]
    assert "GLOO_SOCKET_IFNAME" not in launch.os.environ  # two machines need their network


def test_the_naive_step_rounds_fp32_as_torch_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    with as_torch_comes():
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.enabled
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("gpu", "seconds"), [(False, 100), (True, 160)])
def test_the_device_s_links_are_given_up_after_the_host_s(
    gpu: bool, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL ends a process that waits too long; before that, the host's group names the silent."""
    import accelerate

    class First:
        num_processes, process_index, device = 2, 0, GPU

        def __init__(self, cpu: bool, timeout: timedelta) -> None:
            assert timeout == timedelta(seconds=seconds)

    monkeypatch.setattr(accelerate, "PartialState", First)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(launch, "_parent_command", list)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    for name in ("ACCELERATE_USE_CPU", "GLOO_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "")  # put back after the test
        monkeypatch.delenv(name)
    assert launch.join_world(1, timeout=100).size == 2


@pytest.mark.parametrize(
    ("name", "said"), [("tensorbord", "is unknown"), ("aim", "pip install aim")]
)
def test_trackers_that_cannot_work_are_named(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"run\.trackers: '{name}'.*{said}"):
        make_accelerator(precision="fp32", accumulation=1, trackers=[name], run_dir=tmp_path)


def test_the_accelerator_is_as_asked(tmp_path: Path) -> None:
    made = make_accelerator(
        precision="bf16", accumulation=3, trackers=["tensorboard"], run_dir=tmp_path
    )
    assert made.mixed_precision == "bf16"
    assert made.gradient_accumulation_steps == 3
    assert made.ddp_handler.broadcast_buffers is False  # no module has any that change
    assert [str(tracker) for tracker in made.log_with] == ["tensorboard"]


def test_a_config_file_s_promise_counts_too(tmp_path: Path) -> None:
    """distributed_type: NO with two processes starts one and says nothing."""
    config = tmp_path / "two.yaml"
    shipped = Path(__file__).parents[2] / "accelerate_config.yaml"
    config.write_text(shipped.read_text().replace("num_processes: 1", "num_processes: 2"))
    command = ["python", "/venv/bin/accelerate", "launch", "--config_file", str(config), "-m", "x"]
    with pytest.raises(UserError, match="asked for 2 processes and started 1"):
        launch._check_promise(1, command)
    launch._check_promise(1, [str(shipped) if word == str(config) else word for word in command])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["python", "/venv/bin/accelerate", "launch", "-m", "srae_dist.train"], True),
        (["python", "/venv/bin/accelerate-launch", "-m", "srae_dist.train"], True),
        (["/venv/bin/torchrun", "--nproc_per_node", "2"], True),
        (["python", "-m", "torch.distributed.run"], True),
        (["python", "-m", "accelerate.commands.launch"], True),
        (["bash", "/home/me/accelerate-x/run.sh"], False),
        (["-zsh"], False),
        ([], False),
    ],
)
def test_only_a_launcher_s_death_ends_a_run(command: list[str], expected: bool) -> None:
    assert launch._is_launcher(command) is expected

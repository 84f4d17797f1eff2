"""Two launchers that meet on loopback, as on two machines; and Slurm's script with stand-ins."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tests.engine.launches import LAUNCH, ROOT, TWO_RANKS, start, wait
from tests.engine.runs import command_line, log, tensors, write_recipe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo on loopback, Slurm")

TWO_NODES = (*LAUNCH, "docs/launch/cpu_two_nodes.yaml", "--main_process_ip", "127.0.0.1")
SCRIPT = ROOT / "docs" / "launch" / "slurm.sbatch"
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}

# both write down what they were asked; srun starts a node's command once for each node
SCONTROL = """\
#!/bin/bash
echo "$@" >> "$TOLD/scontrol"
[ "$1" = show ] && echo 127.0.0.1 && echo elsewhere
exit 0
"""
SRUN = """\
#!/bin/bash
while [ "${1#--}" != "$1" ]; do shift; done
for number in $(seq 0 $((SLURM_NNODES - 1))); do SLURM_NODEID=$number "$@" & tasks+=($!); done
trap : USR1
code=0
for task in "${tasks[@]}"; do
    while kill -0 "$task" 2>/dev/null; do wait "$task"; ended=$?; done
    [ "$ended" -gt "$code" ] && code=$ended
done
exit "$code"
"""
# an srun whose trainer ends as $VERDICT says, and whose launcher makes 1 of it
ENDING_SRUN = """\
#!/bin/bash
form='{\\n "code": %s,\\n "reason": "x",\\n "step": 3\\n}\\n'
[ -z "$VERDICT" ] || printf "$form" "$VERDICT" > "$RUN/exit.json"
[ "$VERDICT" = 0 ]
"""


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_two_launchers_train_what_one_does_bit_for_bit(recipe: Path, tmp_path: Path) -> None:
    values = {"train__steps": 8, "train__save_every": 8, "objective__discriminators": 2}
    one, two = tmp_path / "one", tmp_path / "two"
    where = ("--main_process_port", free_port())
    nodes = [
        start(
            recipe,
            two,
            *(*TWO_NODES, *where, "--machine_rank", rank, "-m"),
            environment=LOOPBACK,
            **values,
        )
        for rank in ("0", "1")
    ]
    ends = [wait(node) for node in nodes]
    assert [code for code, _ in ends] == [0, 0], ends
    assert "2 ranks on 2 machines" in ends[0][1]
    assert "machine" not in ends[1][1]  # only rank 0 speaks
    code, output = wait(start(recipe, one, *TWO_RANKS, **values))
    assert code == 0, output
    expected, got = tensors(one, 8), tensors(two, 8)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert log(one) == log(two)


def slurm(folder: Path, srun: str, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start the script as Slurm would on two nodes, with stand-ins for its commands."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    for name, text in {"srun": srun, "scontrol": SCONTROL}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    accelerate = commands / "accelerate"
    accelerate.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {LAUNCH[0]} "$@"\n')
    accelerate.chmod(0o755)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "SLURM_"))}
    job = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "LAUNCH_FILE": "docs/launch/cpu_two_nodes.yaml",
        "RANKS_PER_NODE": "1",
        "RUN": str(folder / "run"),
        "TOLD": str(folder),
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.Popen(
        ["bash", str(SCRIPT), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=inherited | job | LOOPBACK | variables,
        start_new_session=True,
    )


def requeued(folder: Path) -> bool:
    told = (folder / "scontrol").read_text().splitlines()
    return f"requeue {os.getpid()}" in told


@pytest.mark.parametrize(
    ("verdict", "code", "again"),
    [("75", 75, True), ("0", 0, False), ("2", 2, False), ("", 1, False)],
)
def test_only_what_was_stopped_is_queued_again(
    tmp_path: Path, verdict: str, code: int, again: bool
) -> None:
    """Nor is a node that breaks before the trainer begins, whatever the run's last end was."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "exit.json").write_text('{\n "code": 75,\n "reason": "x",\n "step": 1\n}\n')
    assert wait(slurm(tmp_path, ENDING_SRUN, "any.toml", VERDICT=verdict))[0] == code
    assert requeued(tmp_path) is again


def test_the_script_asks_for_a_recipe(tmp_path: Path) -> None:
    code, output = wait(slurm(tmp_path, ENDING_SRUN))
    assert code != 0
    assert "RECIPE" in output


def test_slurm_s_signal_saves_queues_again_and_the_next_job_goes_on(
    recipe: Path, tmp_path: Path
) -> None:
    """Every process of the step gets SIGUSR1, launchers and loader processes too."""
    words = [str(recipe), *command_line({"train.steps": 100000, "data.workers": 1})]
    job = slurm(tmp_path, SRUN, *words)
    run = tmp_path / "run"
    deadline = time.monotonic() + 120
    while not (run / "log.jsonl").exists() or not (run / "log.jsonl").read_text():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline, "no step was logged"
        time.sleep(0.1)
    (srun,) = psutil.Process(job.pid).children()
    for process in srun.children(recursive=True):  # not srun, which is no part of the step
        process.send_signal(signal.SIGUSR1)
    code, output = wait(job)
    assert code == 75, output
    assert requeued(tmp_path)
    verdict = json.loads((run / "exit.json").read_text())
    stopped = verdict["step"]
    assert [folder.name for folder in (run / "checkpoints").iterdir()] == [f"step-{stopped:08d}"]
    (tmp_path / "scontrol").unlink()
    code, output = wait(slurm(tmp_path, SRUN, *words, "--set", f"train.steps={stopped + 2}"))
    assert code == 0, output
    assert f"resumes at step {stopped:,}" in output
    assert not requeued(tmp_path)
    assert [line["step"] for line in log(run)] == list(range(1, stopped + 3))

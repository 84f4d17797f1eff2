"""The trainer as processes of its own, alone or under accelerate's launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.engine.runs import command_line

ROOT = Path(__file__).parents[2]
LAUNCH = ("accelerate.commands.accelerate_cli", "launch", "--config_file")
TWO_RANKS = (*LAUNCH, "docs/launch/cpu_2_ranks.yaml", "--main_process_port", "0", "-m")


def start(
    recipe: Path,
    run: Path,
    *launcher: str,
    module: str = "srae_dist.train",  # which ends in its main
    environment: dict[str, str] | None = None,  # added to this process's own
    **values: object,
) -> subprocess.Popen[str]:
    """Start the trainer; keyword ``train__steps`` means the key ``train.steps``."""
    given = {key.replace("__", "."): value for key, value in values.items()}
    command = [sys.executable, "-m", *launcher, module, str(recipe)]
    command += command_line({"run.dir": run, **given})
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=inherited | (environment or {}),
        start_new_session=True,
    )


def wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and all that was said."""
    output, _ = process.communicate(timeout=180)
    return process.returncode, output

"""Which run is meant where none is named, and which shards it was trained on."""

from __future__ import annotations

from pathlib import Path

from srae_dist.core.errors import UserError
from srae_dist.runtime import checkpoint

RUNS = Path("runs")


def find_run(root: Path = RUNS) -> Path:
    """Return the run below ``root`` with the newest checkpoint.

    Raises:
        UserError: none has a checkpoint.
    """
    found = {
        run: max(saved)
        for run in (sorted(root.iterdir()) if root.is_dir() else ())
        if (saved := _saved(run / "checkpoints"))
    }
    if not found:
        raise UserError(f"There is no trained run below {root}; name one with --run.")
    return max(found, key=lambda run: found[run])


def find_shards(checkpoint_file: Path) -> str:
    """Return the place of the shards that a checkpoint was trained on.

    Args:
        checkpoint_file: its ``ema.safetensors``.

    Raises:
        UserError: what lies beside it does not say.
    """
    try:
        root = checkpoint.read_state(checkpoint_file.parent)["recipe"]["data"]["root"]
    except (UserError, KeyError, TypeError):
        root = None
    if not isinstance(root, str):
        raise UserError(
            f"{checkpoint_file.parent} does not say which shards it was trained on; name them with "
            "--shards."
        )
    return root


def _saved(checkpoints: Path) -> list[float]:
    """Return when the checkpoints of a run were saved."""
    if not checkpoints.is_dir():
        return []
    files = (folder / checkpoint.DIGESTS for folder in checkpoints.iterdir())
    return [file.stat().st_mtime for file in files if file.is_file()]

"""What `srae-dist evaluate` is asked for, and what of it can be refused at once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from srae_dist.core.errors import UserError

TRAIN, TEST = 2000, 1000  # images per domain that are measured, unless told otherwise


@dataclass(frozen=True, slots=True)
class Options:
    """One evaluation, as the user wants it."""

    run: Path
    shards: str
    only: tuple[str, ...] = ()  # measures; none for all
    train_split: str = "train"
    test_split: str = "test"
    per_domain: int | None = None  # of both splits; None for TRAIN and TEST
    seeds: int = 3
    vgg: str | None = None  # None for the run's own
    inception: Path | None = None
    lpips: Path | None = None
    out: Path | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.train_split == self.test_split:
            raise UserError(
                f"--train-split and --test-split are both '{self.test_split}', but probes are "
                "scored on images that they did not learn from; name two splits."
            )

    @property
    def per_domain_train(self) -> int:
        """Images of each domain to learn from, at most."""
        return TRAIN if self.per_domain is None else self.per_domain

    @property
    def per_domain_test(self) -> int:
        """Images of each domain to be scored, at most."""
        return TEST if self.per_domain is None else self.per_domain


def run_folder(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint's ``ema.safetensors`` lies in, if it lies in one."""
    above = checkpoint.resolve().parents
    if len(above) > 2 and above[1].name == "checkpoints":
        return above[2]
    return None


def out_folder(options: Options, checkpoint: Path) -> Path:
    """Return where the report goes.

    Raises:
        UserError: the checkpoint lies in no run folder, and none is named.
    """
    if options.out is not None:
        return options.out
    if options.run.is_dir() and (options.run / "checkpoints").is_dir():
        return options.run / "evaluation"  # as the user wrote it
    folder = run_folder(checkpoint)
    if folder is None:
        raise UserError(
            f"{checkpoint} lies in no run folder; say where the report goes with --out."
        )
    return folder / "evaluation"


def claim(out: Path) -> None:
    """Make the folder, and hold that it can be written to before an hour is spent.

    Raises:
        UserError: it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise cannot_write(out, error) from None


def cannot_write(out: Path, error: OSError) -> UserError:
    """Tell a full disk, or a folder that may not be written to, in one sentence."""
    return UserError(
        f"{error.filename or out} cannot be written: {error.strerror or error}; mend that, or name "
        "another folder with --out."
    )

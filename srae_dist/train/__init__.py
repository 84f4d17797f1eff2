"""Training a run: `accelerate launch -m srae_dist.train RECIPE`."""

from srae_dist.train.command import main, train

__all__ = ["main", "train"]

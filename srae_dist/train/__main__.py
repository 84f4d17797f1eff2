"""``python -m srae_dist.train``."""

from srae_dist.train.command import main

if __name__ == "__main__":
    main()

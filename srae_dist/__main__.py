"""``python -m srae_dist``: the same as ``srae-dist``."""

from srae_dist.cli import main

if __name__ == "__main__":
    main()

"""`accelerate launch -m srae_dist.evaluate RUN SHARDS`."""

from srae_dist.evaluate.command import main

if __name__ == "__main__":
    main()

"""Images to codes and back. Knows nothing of losses, loops or files of training data."""

"""The training engine: one step, the loop around it, what a checkpoint holds."""

"""The outside world: console, commands, launching, signals, checkpoints."""

"""Disk to batches and back: sources, shards, order, loading. Knows nothing of models."""

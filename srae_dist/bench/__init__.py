"""Measurements that anyone can repeat: `srae-dist bench data`, `bench shard`, `bench order`."""

"""Strangers' files: nothing in them is run, nothing of them is believed, nothing secret is kept."""

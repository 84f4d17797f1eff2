"""Words shared by all layers: errors, types, randomness, atomic files. Imports nothing above it."""

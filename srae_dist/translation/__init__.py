"""A trained model in use: encode, decode, translate."""

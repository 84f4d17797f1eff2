"""TOML to frozen, validated values."""

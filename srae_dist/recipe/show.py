"""A recipe for human eyes: every value with its origin, and the reference of all keys."""

from __future__ import annotations

from collections.abc import Iterator

from srae_dist.recipe.keys import KEYS, SECTIONS, Key, toml_value
from srae_dist.recipe.load import LoadedRecipe

COLUMNS = ("key", "value", "from", "meaning")


def recipe_tables(loaded: LoadedRecipe) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield each section's heading and its rows of ``COLUMNS``."""
    for section in SECTIONS:
        yield (
            f"[{section}]",
            [
                (
                    key.name.removeprefix(f"{section}."),
                    toml_value(key.of(loaded.recipe)),
                    loaded.origins[key.name],
                    key.meaning,
                )
                for key in _keys_of(section)
            ],
        )


def reference() -> str:
    """Return the Markdown tables of docs/recipes.md."""
    return "\n".join(line for section in SECTIONS for line in _reference(section))


def _reference(section: str) -> Iterator[str]:
    yield f"## [{section}]\n"
    yield f"{(SECTIONS[section].__doc__ or '').strip()}\n"
    yield "| key | takes | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key in _keys_of(section):
        takes = key.kind.words() + (", or nothing" if key.kind.optional else "")
        yield f"| `{key.name}` | {takes} | `{toml_value(key.default)}` | {_cell(key.meaning)} |"
    yield ""


def _keys_of(section: str) -> list[Key]:
    return [key for key in KEYS.values() if key.name.startswith(f"{section}.")]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

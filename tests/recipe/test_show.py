"""What is shown of a recipe is complete, and the documentation is not older than the schema."""

from __future__ import annotations

from pathlib import Path

from srae_dist.recipe.keys import KEYS
from srae_dist.recipe.load import load_recipe
from srae_dist.recipe.show import recipe_tables, reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_tables_hold_every_key_with_value_and_origin(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nlr = 0.5\n", encoding="utf-8")
    shown = {
        f"{heading[1:-1]}.{name}": (value, origin)
        for heading, rows in recipe_tables(load_recipe(path, overrides=["train.steps=7"]))
        for name, value, origin, _ in rows
    }
    assert shown.keys() == KEYS.keys()
    assert shown["train.lr"] == ("0.5", f"{path}:2")
    assert shown["train.steps"] == ("7", "--set")
    assert shown["data.lanes"] == ("none", "default")


def test_document_is_up_to_date() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    for key in KEYS:
        assert f"| `{key}` |" in document, key
    assert reference().strip() in document, (
        "replace its tables with those of `srae-dist recipe keys`"
    )

"""``srae-dist``: one thin function per command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srae_dist import __version__
from srae_dist.add_domain import add_domain
from srae_dist.batch_translate import batch_translate
from srae_dist.bench.commands import app as bench_app
from srae_dist.evaluate.classify import classify
from srae_dist.evaluate.command import evaluate
from srae_dist.evaluate.embed import embed
from srae_dist.evaluate.neighbours import neighbours
from srae_dist.export import export
from srae_dist.recipe_check import check
from srae_dist.shard import shard
from srae_dist.train import train

app = typer.Typer(
    help="Split Representation Auto-Encoder: learn content and domain codes of images from several "
    "domains, and translate between them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipe_app = typer.Typer(help="Look at a recipe, or check it.", no_args_is_help=True)

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, a name in recipes/, or a run.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. train.steps=500."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from srae_dist.runtime import console

        console.info(f"srae-dist {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@recipe_app.command()
def show(recipe: RecipeName, set_: Overrides = None) -> None:
    """Print every value, where it came from and what it means."""
    from srae_dist.recipe.load import load_recipe
    from srae_dist.recipe.show import COLUMNS, recipe_tables
    from srae_dist.runtime import console

    for heading, rows in recipe_tables(load_recipe(Path(recipe), overrides=set_ or [])):
        console.table(COLUMNS, rows, title=heading)


@recipe_app.command()
def keys() -> None:
    """Print the reference of all recipe keys as Markdown (docs/recipes.md is made with it)."""
    from srae_dist.recipe.show import reference
    from srae_dist.runtime import console

    console.info(reference())


recipe_app.command()(check)
app.add_typer(recipe_app, name="recipe")
app.add_typer(bench_app, name="bench")
app.command()(shard)
app.command()(train)
app.command()(batch_translate)
app.command()(evaluate)
app.command()(neighbours)
app.command()(embed)
app.command()(classify)
app.command()(add_domain)
app.command()(export)


def main() -> None:
    """Run ``srae-dist``; mistakes are told in one sentence, and the exit code tells the rest."""
    from srae_dist.runtime.command import run

    run(app)

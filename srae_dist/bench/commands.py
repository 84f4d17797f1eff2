"""The commands of `srae-dist bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from srae_dist.core.errors import UserError

if TYPE_CHECKING:
    from srae_dist.bench.data import Case

app = typer.Typer(
    help="Measure this machine, and prove the order of the data.", no_args_is_help=True
)

Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers here, too.")
]
Record = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Where the dated result goes (default: benchmarks, if it is there)."
    ),
]

RecipeName = Annotated[
    str, typer.Option(metavar="RECIPE", help="A recipe file, a name in recipes/, or a run.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. model.width=32."),
]
Size = Annotated[int, typer.Option(min=32, max=256, help="Pixels of the images.")]
Rounds = Annotated[int, typer.Option(min=7, help="Interleaved rounds.")]


@app.command()
def data(
    folders: Annotated[
        Path | None,
        typer.Option(
            metavar="ROOT", help="Images to make shards of, a folder a domain (default: faces)."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A case, as in 'jpg 64'. Repeatable. Default: all."),
    ] = None,
    rounds: Rounds = 9,
    images: Annotated[int, typer.Option(min=256, help="Images a round.")] = 2048,
    json: Json = None,
    record: Record = None,
) -> None:
    """Time shards to batches: ours, the stock WebDataset pipeline, and the decoders alone."""
    from srae_dist.bench import data as bench
    from srae_dist.runtime import console

    _check(json)
    cases = _chosen(only)
    if images % bench.BATCH:
        raise UserError(f"--images {images} is not a multiple of {bench.BATCH}; choose one.")
    total = sum(map(bench.count_works, cases)) * (rounds + 1)
    with console.progress(total, "measurements") as advance:
        results = bench.run(cases, rounds=rounds, images=images, folders=folders, advance=advance)
    columns, rows = bench.table(results)
    console.table(columns, rows, title=f"shards to float batches of {bench.BATCH}, one core")
    values = {"cases": {result.case.name: result.values for result in results}}
    head = results[0].values
    flat = {key: value for key, value in head.items() if not isinstance(value, dict)}
    _save(json, {**flat, **values})
    _record("data", record, columns, rows, {**flat, **values}, REMARKS)


REMARKS = (
    "Medians over interleaved rounds; ratios are medians of the rounds' own ratios. One process",
    "and thread, but for the workers' rows, which end with uint8 batches, as a device gets them.",
    "Stock: `WebDataset(...).shuffle(1000).decode('pil').to_tuple(...).map(ToTensor, Normalize)",
    ".batched(256)`. Floor: the fastest packaged library decoding the same bytes, already in",
    "memory, into the same pixels again and again.",
)


@app.command()
def shard(
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images to write (default: built-in faces).")
    ] = None,
    rounds: Rounds = 9,
    images: Annotated[int, typer.Option(min=64, help="Images a round.")] = 2048,
    json: Json = None,
    record: Record = None,
) -> None:
    """Time image files to shards, 256 to 64 pixels: ours, and Pillow into webdataset's writer."""
    from srae_dist.bench import shard as bench
    from srae_dist.runtime import console

    _check(json)
    with console.progress(3 * (rounds + 1), "measurements") as advance:
        result = bench.run(rounds=rounds, count=images, folder=folder, advance=advance)
    columns, rows = bench.table(result)
    console.table(columns, rows, title=f"{bench.FROM} to {bench.TO} pixels, JPEG, one core")
    _save(json, result.values)
    _record("shard", record, columns, rows, result.values, SHARD_REMARKS)


SHARD_REMARKS = (
    "Medians over interleaved rounds, one process and one thread; each writes one shard, synced to",
    "disk by ours only. Stock: `Image.open`, `resize(LANCZOS)`, `save(JPEG)`, webdataset's",
    "`TarWriter`. PSNR: our shard's images against the stock shard's.",
)


@app.command()
def step(
    recipe: RecipeName = "ffhq_getchu",
    set_: Overrides = None,
    size: Size = 64,
    batch: Annotated[
        int | None, typer.Option(min=2, help="Images a step (default: 32, on a GPU 512).")
    ] = None,
    rounds: Rounds = 7,
    steps: Annotated[int, typer.Option(min=1, help="Steps a round, of each but the naive.")] = 2,
    json: Json = None,
    record: Record = None,
) -> None:
    """Time a training step: ours, the naive one, each part, against the machine's ceiling."""
    _check(json)
    from srae_dist.recipe.load import load_recipe
    from srae_dist.runtime import console

    wanted = [*(set_ or []), f"data.image_size={size}"]
    if not any(value.startswith("perceptual.weights=") for value in wanted):
        wanted.append("perceptual.weights=random")  # as fast as any, and there without a download
    if batch is not None:
        wanted.append(f"train.global_batch={batch}")
    loaded = load_recipe(Path(recipe), overrides=wanted).recipe

    from srae_dist.runtime.launch import join_world

    world = join_world(loaded.engine.threads)  # before torch makes its first tensor
    from srae_dist.bench import step as bench

    if batch is None:
        train = loaded.train.model_copy(update={"global_batch": bench.batch_for(world.device)})
        loaded = loaded.model_copy(update={"train": train})
    with console.progress(bench.count_works(loaded) * (rounds + 1), "measurements") as advance:
        result = bench.run(loaded, world, rounds=rounds, steps=steps, advance=advance)
    columns, rows = bench.table(result)
    console.table(columns, rows, title="one training step, forward, backward and update")
    words = bench.remarks(result)
    for line in words:
        console.info(line)
    _save(json, result.values)
    _record("step", record, columns, rows, result.values, words)


@app.command()
def translate(
    recipe: RecipeName = "ffhq_getchu",
    set_: Overrides = None,
    size: Size = 64,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    rounds: Rounds = 7,
    images: Annotated[int, typer.Option(min=64, help="Images a round.")] = 1024,
    json: Json = None,
    record: Record = None,
) -> None:
    """Time a translation of shards to shards: ours, the bare model, and a naive loop."""
    _check(json)
    from srae_dist.recipe.load import load_recipe
    from srae_dist.runtime import console

    loaded = load_recipe(Path(recipe), overrides=set_ or []).recipe

    from srae_dist.runtime.launch import join_world

    world = join_world(loaded.engine.threads)
    from srae_dist.bench import translate as bench

    with console.progress(3 * (rounds + 1), "measurements") as advance:
        result = bench.run(
            loaded,
            world,
            size=size,
            images=images,
            batch=batch,
            rounds=rounds,
            advance=advance,
        )
    columns, rows = bench.table(result)
    console.table(columns, rows, title="shards to translated shards")
    words = bench.remarks(result)
    for line in words:
        console.info(line)
    _save(json, result.values)
    _record("translate", record, columns, rows, result.values, words)


@app.command()
def order(
    shards: Annotated[str, typer.Argument(metavar="DIR", help="A shard folder, or its URL.")],
    ranks: Annotated[int, typer.Option(min=1, help="Ranks to take apart and join again.")] = 1,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Loader processes a rank.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Global batches.")] = 10,
    start: Annotated[int, typer.Option(min=0, help="First global batch, as after a resume.")] = 0,
    split: Annotated[str, typer.Option(help="Split to read.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order.")] = 0,
    global_batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 64,
    balance: Annotated[
        Literal["domain", "natural"], typer.Option(help="As the recipe's data.balance.")
    ] = "domain",
    lanes: Annotated[int | None, typer.Option(min=1, help="As the recipe's data.lanes.")] = None,
    window: Annotated[int, typer.Option(min=1, help="As the recipe's data.window.")] = 1024,
    json: Json = None,
) -> None:
    """List the keys of each global batch: the same for any number of ranks and workers."""
    import hashlib

    from srae_dist.bench.order import keys_of_batches
    from srae_dist.runtime import console

    _check(json)
    batches = keys_of_batches(
        shards,
        split=split,
        ranks=ranks,
        workers=workers,
        steps=steps,
        start=start,
        seed=seed,
        global_batch=global_batch,
        balance=balance,
        lanes=lanes,
        window=window,
    )
    _save(json, batches)
    digest = hashlib.sha256("\n".join(key for keys in batches for key in keys).encode())
    console.facts(
        f"{steps} global batches of {global_batch}, from step {start}",
        {
            "read by": f"{ranks} rank{'s' * (ranks > 1)}, {workers} workers each",
            "first": " ".join(batches[0][:4]) + " ...",
            "sha256 of all keys": digest.hexdigest(),
        },
    )


def _check(file: Path | None) -> None:
    """Refuse a file that could not be written, before there is anything to lose."""
    if file is not None and file.is_dir():
        raise UserError(f"--json {file} is a folder; name a file.")


def _save(file: Path | None, value: object) -> None:
    from srae_dist.core import atomic

    if file is not None:
        try:
            atomic.write_json(file, value)
        except OSError as error:
            raise UserError(f"--json {file} cannot be written: {error.strerror}.") from None


def _chosen(only: list[str] | None) -> list[Case]:
    """Return the cases asked for."""
    from srae_dist.bench.data import CASES

    known = {case.name: case for case in CASES}
    for name in only or ():
        if name not in known:
            raise UserError(f"--only '{name}' is not one of {', '.join(known)}; choose one.")
    return [known[name] for name in only or known]


def _record(
    name: str,
    folder: Path | None,
    columns: list[str],
    rows: list[list[str]],
    values: dict[str, object],
    remarks: tuple[str, ...],
) -> None:
    """Write the dated result where it is wanted, or where results are kept."""
    from srae_dist.bench import record
    from srae_dist.runtime import console

    kept = Path("benchmarks")
    if folder is None and not kept.is_dir():
        return
    path = record.write(
        folder or kept, name, columns=columns, rows=rows, values=values, remarks=remarks
    )
    console.info(f"Written to {path}.")

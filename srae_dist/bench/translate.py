"""``srae-dist bench translate``: shards to shards, against the bare model and a naive loop."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import normalize, to_tensor

from srae_dist.bench.data import Case, make_shards
from srae_dist.bench.naive import as_torch_comes
from srae_dist.bench.timing import Timing, Work, interleave, ratio, timed
from srae_dist.data.opened import open_split
from srae_dist.data.plan import Form
from srae_dist.data.reader import take
from srae_dist.model.build import build_autoencoder
from srae_dist.recipe.schema import Recipe
from srae_dist.runtime.launch import World, choose_precision
from srae_dist.translation.codes import FixedCode
from srae_dist.translation.inputs import ShardImages
from srae_dist.translation.job import Progress, State, begin, conclude
from srae_dist.translation.options import Format
from srae_dist.translation.outputs import ShardOutput
from srae_dist.translation.pipeline import Machine
from srae_dist.translation.run import codec_threads, run_units
from srae_dist.translation.translator import Translator

QUALITY = 90
NAIVE = 64  # images a round of the naive loop


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured; times are microseconds an image."""

    times: dict[str, Timing]
    setting: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """Return the numbers that promises are made of."""
        ours = self.times["ours"]
        return {
            **self.setting,
            "ratio_to_bare": ratio(self.times["bare model"], ours),
            "ratio_to_naive": ratio(self.times["naive"], ours),
            "images_per_s": {name: timing.per_second for name, timing in self.times.items()},
            "microseconds": {name: list(timing.rounds) for name, timing in self.times.items()},
        }


def run(
    recipe: Recipe,
    world: World,
    *,
    size: int,
    images: int,
    batch: int,
    rounds: int,
    advance: Callable[[int], None],
) -> Result:
    """Measure an untrained model of the recipe on built-in faces, JPEG shards to JPEG shards."""
    precision = choose_precision(recipe.train.precision, world.device)
    bf16 = precision == "bf16"
    with tempfile.TemporaryDirectory(prefix="srae_dist-bench-") as name:
        root = Path(name)
        case = Case("translate", size, "jpg", 80, longer=1)
        # as many images in a shard as real ones have: each is synced to disk
        make_shards(case, root / "in", images=images, folders=None, shards=1 + images // 1024)
        translator = untrained(recipe, size, world.device)
        works: dict[str, Work] = {
            "ours": timed(lambda: translate(translator, root, batch=batch, bf16=bf16)),
            "bare model": timed(bare(translator, root, images=images, batch=batch, bf16=bf16)),
            "naive": timed(naive(translator, root, images=min(images, NAIVE))),
        }
        times = interleave(works, rounds=rounds, advance=advance)
    return Result(
        times,
        {
            "recipe": recipe.name,
            "image_size": size,
            "images": images,
            "batch": batch,
            "precision": precision,
            "device": str(world.device),
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in translator.autoencoder.parameters()),
        },
    )


def untrained(recipe: Recipe, size: int, device: torch.device) -> Translator:
    """Return a model as the recipe begins: as fast as a trained one."""
    autoencoder = build_autoencoder(recipe.model, image_size=size, seed=0).requires_grad_(False)
    return Translator(
        autoencoder,
        torch.zeros(2, recipe.model.domain_channels),
        domains=("photo", "anime"),
        image_size=size,
        step=0,
        recipe={},
        device=device,
    )


def translate(translator: Translator, root: Path, *, batch: int, bf16: bool) -> int:
    """Translate all shards as `batch-translate` does, to the last rename; returns the images."""
    out = root / "out"
    shutil.rmtree(out, ignore_errors=True)
    (out / ".partial").mkdir(parents=True)
    inputs, job = ShardImages(root / "in"), {"bench": True}
    begin(out, job, State.NEW)
    output = ShardOutput(
        out,
        inputs,
        Form(translator.image_size, Format.JPG.value, QUALITY),
        split="train",
        domains=translator.domains,
        target=1,
        facts={},
    )
    machine = Machine(
        translator,
        FixedCode(translator.mean_codes[1], "mean"),
        output.encode,
        size=translator.image_size,
        batch=batch,
        bf16=bf16,
        sample_seed=None,
    )
    progress = Progress(out)
    run_units(
        machine,
        output,
        inputs,
        progress,
        output.units,
        threads=codec_threads(1),
        stopped=lambda: False,
        advance=lambda count: None,
    )
    output.publish(progress)
    total = conclude(out, job, map(progress.load, output.units), facts={}, shown=1)
    return total.translated


def bare(
    translator: Translator, root: Path, *, images: int, batch: int, bf16: bool
) -> Callable[[], int]:
    """Return the model alone: float batches in memory, encoded and decoded; returns the images."""
    opened = open_split(root / "in", "train")
    reader = opened.reader()
    pixels = reader.read(take(opened.index, np.arange(min(batch, len(opened.index)))))
    reader.close()
    x = translator.prepare(pixels)
    device = translator.device.type

    @torch.inference_mode()
    def forward() -> int:
        code = translator.mean_codes[1].expand(len(x), -1)
        steps = max(1, images // len(x))
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            for _ in range(steps):
                content = translator.autoencoder.encode(x).content.mean
                made = translator.autoencoder.decode(content, code)
        made.flatten()[0].item()  # what a GPU was told is done
        return steps * len(x)

    return forward


def naive(translator: Translator, root: Path, *, images: int) -> Callable[[], int]:
    """Return the loop that is usually written: open, one fp32 forward pass, save, one by one."""
    source, target = root / "naive-in", root / "naive-out"
    source.mkdir()
    target.mkdir()
    inputs = ShardImages(root / "in")
    for place in range(images):
        (source / f"{place}.jpg").write_bytes(inputs.data(place))
    files = sorted(source.iterdir())
    mean = std = [0.5, 0.5, 0.5]

    @torch.no_grad()
    def loop() -> int:
        for file in files:
            with Image.open(file) as image:
                x = normalize(to_tensor(image.convert("RGB")), mean, std)[None]
            with as_torch_comes():
                content = translator.autoencoder.encode(x.to(translator.device)).content.mean
                made = translator.autoencoder.decode(content, translator.mean_codes[1:2])
            levels = ((made[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
            Image.fromarray(levels.cpu().numpy()).save(target / file.name, quality=QUALITY)
        return len(files)

    return loop


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Lay a result out as columns and rows."""
    columns = ["", "images/s", "us/image", "quartiles", "of the bare model"]
    bare_model = result.times["bare model"]
    rows = [
        [
            name,
            f"{timing.per_second:,.0f}",
            f"{timing.median:,.1f}",
            f"{timing.spread:.0%}",
            f"{ratio(bare_model, timing):.2f}",
        ]
        for name, timing in result.times.items()
    ]
    return columns, rows


def remarks(result: Result) -> tuple[str, ...]:
    """Say in words what the table does not."""
    setting, values = result.setting, result.values
    return (
        f"Recipe {setting['recipe']}, {setting['parameters'] / 1e6:.1f} M parameters, "
        f"{setting['image_size']} px, {setting['images']:,} images, batches of {setting['batch']}, "
        f"{setting['precision']}, {setting['device']}, {setting['threads']} threads.",
        f"JPEG shards to JPEG shards, decoded, encoded, hashed and synced to disk: "
        f"{values['ratio_to_bare']:.2f} of the speed of the model alone (batches in memory), "
        f"{values['ratio_to_naive']:.1f} times a loop over files (Pillow, one fp32 image at a "
        "time).",
    )

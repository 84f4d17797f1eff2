"""What was measured, by which command, with which packages, on what: a report's facts."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srae_dist import __version__
from srae_dist.core.machine import processor
from srae_dist.core.urls import redacted
from srae_dist.evaluation.section import Table

if TYPE_CHECKING:
    import torch

    from srae_dist.data.opened import OpenSplit
    from srae_dist.evaluate.subject import Subject
    from srae_dist.evaluation.encoded import Encoded
    from srae_dist.runtime.launch import World

PACKAGES = (
    *("torch", "torchvision", "numpy", "scikit-learn", "faiss-cpu", "matplotlib", "pillow"),
    *("torch-fidelity", "lpips"),
)

FEW = 50  # images of a domain; with fewer, all numbers are rough


def facts(
    subject: Subject,
    *,
    checkpoint: Path,
    splits: Mapping[str, tuple[OpenSplit, Encoded]],
    world: World,
    threads: int,
) -> dict[str, Any]:
    """Return all that the numbers depend on, as JSON: the first level of ``report.json``.

    Args:
        splits: "train" and "test", each as it is in the shards, and what of it was measured.
        world: the ranks that encoded.
        threads: CPU threads that measured.
    """
    from srae_dist.core.atomic import sha256_file

    translator, store = subject.translator, splits["test"][0].store
    recipe = json.dumps(translator.recipe, sort_keys=True).encode()
    return {
        "srae_dist": __version__,
        "command": redacted(shlex.join(_command())),
        "run": {
            "path": str(subject.options.run),
            "checkpoint": str(checkpoint),
            "sha256": sha256_file(checkpoint),
            "step": translator.step,
        },
        "recipe": {
            "name": str(translator.recipe.get("name", "")),
            "sha256": hashlib.sha256(recipe).hexdigest(),
        },
        "shards": {"path": store.name},
        "domains": list(subject.domains),
        "image_size": translator.image_size,
        "splits": {use: _split(*pair) for use, pair in splits.items()},
        "seeds": subject.options.seeds,
        "machine": machine(world, threads, subject.translator.device),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the versions of the packages that compute; "" for one that is not installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def machine(world: World, threads: int, device: torch.device) -> dict[str, Any]:
    """Return what computed."""
    import psutil
    import torch

    return {
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "ranks": world.size,
        "threads": threads,
    }


def summary(facts: Mapping[str, Any]) -> str:
    """Return the sentence below the title."""
    scored, learnt = facts["splits"]["test"], facts["splits"]["train"]
    domains, size = facts["domains"], facts["image_size"]
    listed = ", ".join(f"{scored['images'][name]:,} {name}" for name in domains)
    recipe = facts["recipe"]["name"]
    return (
        f"Step {facts['run']['step']:,}{f' of the recipe {recipe}' if recipe else ''}: "
        f"{len(domains)} domains of {size} × {size} pixels. Scored on "
        f"{sum(scored['images'].values()):,} held-out images ({listed}); whatever had to learn did "
        f"so from {sum(learnt['images'].values()):,} training images."
        + (f" {note}" if (note := scarce(facts)) else "")
    )


def scarce(facts: Mapping[str, Any]) -> str | None:
    """Say that few images were measured, where they were: shares and distances of them are rough.

    Of 50 images one share's standard error is up to 7 points.
    """
    counts = [
        (int(split["images"][domain]), domain, split["name"])
        for split in facts["splits"].values()
        for domain in facts["domains"]
    ]
    count, domain, split = min(counts)
    if count >= FEW:
        return None
    return (
        f"Only {count} image{'s' * (count != 1)} of {domain} in split {split}: with fewer than "
        f"{FEW} of a domain all numbers here are rough, whatever spread they show."
    )


def readable(facts: Mapping[str, Any], *, created: str, seconds: float) -> dict[str, str]:
    """Return the facts as lines for people."""
    run, recipe, machine = facts["run"], facts["recipe"], facts["machine"]
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items() if found)
    return {
        "Command": facts["command"],
        "Checkpoint": f"{run['checkpoint']}, step {run['step']:,}, SHA-256 {run['sha256']}",
        "Recipe": f"{recipe['name'] or 'unnamed'}, SHA-256 {recipe['sha256']}",
        "Shards": facts["shards"]["path"],
        "Seeds": f"{facts['seeds']} of everything that draws: numbers are mean ± spread over them",
        "Machine": f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}; {machine['device']}, "
        f"{machine['ranks']} rank{'s' * (machine['ranks'] != 1)}, {machine['threads']} threads",
        "Software": f"srae_dist {facts['srae_dist']}, Python {machine['python']}, {packages}",
        "Made": f"{created}, in {seconds:,.0f} s",
    }


def image_table(facts: Mapping[str, Any]) -> Table:
    """Return how many images of which split and domain were measured."""
    rows = [
        [split["name"], use, domain, f"{split['images'][domain]:,}", f"{split['of'][domain]:,}"]
        for use, split in facts["splits"].items()
        for domain in facts["domains"]
    ]
    columns = ["split", "used to", "domain", "images", "in the split"]
    uses = {"train": "learn from", "test": "be scored on"}
    return Table("Images", columns, [[a, uses[b], *rest] for a, b, *rest in rows])


def _split(opened: OpenSplit, encoded: Encoded) -> dict[str, Any]:
    counts = opened.split.counts()
    return {
        "name": opened.name,
        "index_sha256": opened.split.index_sha256,
        "images": {
            name: int((encoded.domain == number).sum())
            for number, name in enumerate(encoded.domains)
        },
        "of": {name: counts[name] for name in encoded.domains},
        "labels": sorted(encoded.labels),
        "factors": sorted(encoded.factors),
    }


def _command() -> list[str]:
    """Return the command line that is running, as a user would type it."""
    launched = Path(sys.argv[0]).stem == "__main__" and Path(sys.argv[0]).parent.name == "evaluate"
    return ["srae-dist", *(["evaluate"] * launched), *sys.argv[1:]]

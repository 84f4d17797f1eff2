"""Open a shard folder for training: it must exist, be whole, and be what the recipe wants."""

from __future__ import annotations

import re
import shlex

from srae_dist.core.errors import UserError
from srae_dist.core.urls import is_url, without_secrets
from srae_dist.data.manifest import MANIFEST, Manifest, load_manifest
from srae_dist.data.store import LocalStore, Store, open_store
from srae_dist.recipe.schema import Data, Model

_SIDES = (32, 256)  # pixels of images that training takes
_CODES = (2, 32)  # as the recipe bounds model.code_size
_AGAIN = "shard again with --size 64, 128 or 256"


def open_shards(data: Data, *, model: Model) -> Manifest:
    """Read the manifest of ``data.root`` and hold it against the recipe; opens no shard.

    Raises:
        UserError: the shards are missing (the message has the command that makes them), cut short,
            or have other domains, another size or no such split.
    """
    store = open_store(data.root)
    if not store.has(MANIFEST):
        raise UserError(_missing(store, data))
    manifest = load_manifest(store)
    _check_domains(manifest, data)
    _check_size(manifest, data, model)
    _check_split(manifest, data)
    return manifest


def unfit(size: int, model: Model) -> str | None:
    """Say why images of ``size`` pixels cannot train ``model``, and what to do; None if they can.

    Halving must bring them to the code maps; where no size of these is reached, only other shards
    help.
    """
    codes = range(_CODES[0], min(_CODES[1], size // 2) + 1)
    fitting = [str(code) for code in codes if Model(code_size=code).fits(size)]
    if not _SIDES[0] <= size <= _SIDES[1] or not fitting:
        return (
            f"training needs {_SIDES[0]} to {_SIDES[1]} pixels that halving brings to codes of "
            f"{_CODES[0]} to {_CODES[1]}, so no model.code_size helps; {_AGAIN}"
        )
    if model.fits(size):
        return None
    return (
        f"halving does not bring them to model.code_size = {model.code_size}; set "
        f"model.code_size = {' or '.join(fitting)}{f', or {_AGAIN}' if model.fits(64) else ''}"
    )


def _missing(store: Store, data: Data) -> str:
    """Say what is where the shards should be."""
    root = store.root if isinstance(store, LocalStore) else None
    if root is not None and root.is_file():
        return f"{root} (data.root) is a file; name a shard folder with --set data.root=DIR."
    other = root is not None and root.is_dir() and any(root.iterdir())
    if root is None or not other or (root / ".partial").exists():
        command = make_command(data)
        return f"There are no shards in {store.name} (data.root); make them with\n  {command}"
    command = make_command(data.model_copy(update={"root": "shards/NAME"}))
    return (
        f"{root} (data.root) holds other files, but no {MANIFEST}; name a shard folder, or make "
        f"one with\n  {command}"
    )


def make_command(data: Data) -> str:
    """Return the command that makes the shards: where they are looked for, of the size wanted."""
    command = data.make or "srae-dist shard --folders IMAGES --size 64 --out shards"
    out = "shards/NAME" if is_url(data.root) else data.root  # shards are written here, then copied
    if data.image_size is not None:
        command = re.sub(r"--size \S+", f"--size {data.image_size}", command)
    return re.sub(r"--out \S+", lambda _: f"--out {shlex.quote(out)}", command)


def _check_domains(manifest: Manifest, data: Data) -> None:
    root = without_secrets(data.root)
    has, wanted = manifest.domains, data.domains or manifest.domains
    if sorted(has) != sorted(wanted):
        raise UserError(
            f"{root} has the domains {', '.join(has)}, but the recipe's data.domains are "
            f"{', '.join(wanted)}; take the shards' own with --set data.domains=none, or make "
            f"them again with\n  {make_command(data)}"
        )
    if len(has) < 2:
        raise UserError(f"{root} has only the domain {has[0]}; translation needs two or more.")


def _check_size(manifest: Manifest, data: Data, model: Model) -> None:
    root, size = without_secrets(data.root), manifest.image_size
    if size is None:
        raise UserError(
            f"{root} holds images of mixed sizes; make shards of one size with\n"
            f"  {make_command(data)}"
        )
    if data.image_size not in (None, size):
        raise UserError(
            f"{root} holds {size} x {size} images, but data.image_size = {data.image_size}; "
            "take the shards' own with --set data.image_size=none, or make them again with\n"
            f"  {make_command(data)}"
        )
    if (reason := unfit(size, model)) is not None:
        raise UserError(f"{root} holds {size} x {size} images, but {reason}.")


def _check_split(manifest: Manifest, data: Data) -> None:
    store = open_store(data.root)
    split = manifest.split(data.split, store)
    counts = split.counts()
    for domain in manifest.domains:
        if not counts.get(domain):
            raise UserError(
                f"Split '{data.split}' of {store.name} has no image of domain '{domain}'."
            )
    if data.on_bad == "substitute" or not isinstance(store, LocalStore):
        return  # what is missing is met when it is read; asking a remote store takes too long
    for shard in split.shards:
        path = store.root / shard.file
        found = path.stat().st_size if path.is_file() else None
        if found != shard.bytes:
            problem = "is missing" if found is None else f"has {found} bytes, not {shard.bytes}"
            raise UserError(f"{path} {problem}; make the shards again with\n  {make_command(data)}")

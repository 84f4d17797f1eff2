"""Shards that are missing, cut short or of another kind are refused before training starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from srae_dist.core.errors import UserError
from srae_dist.data.manifest import Manifest, Shard, Split
from srae_dist.data.open import make_command, open_shards
from srae_dist.recipe.schema import Data, Model


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "train-000000.tar").write_bytes(b"x" * 10)
    save(tmp_path)
    return tmp_path


def save(
    root: Path, *, size: int | None = 64, counts: dict[str, int] | None = None, split: str = "train"
) -> None:
    counts = counts or {"human": 3, "anime": 4}
    shard = Shard("train-000000.tar", sum(counts.values()), 10, "0" * 64, counts)
    splits = {split: Split((shard,), f"{split}.index.safetensors", "0" * 64)}
    Manifest(tuple(counts), size, "png", splits).save(root)


def wanted(root: Path, **values: object) -> Data:
    command = "srae-dist shard --size 64 --out shards/x --seed 1"
    return Data.model_validate({"root": str(root), "make": command, **values})


def refusal(data: Data, model: Model | None = None) -> str:
    with pytest.raises(UserError) as error:
        open_shards(data, model=model or Model())
    return str(error.value)


def test_fitting_shards_are_opened(root: Path) -> None:
    manifest = open_shards(wanted(root, image_size=64, domains=["anime", "human"]), model=Model())
    assert manifest.domains == ("human", "anime")  # their order is the manifest's, not the recipe's


def test_missing_shards_tell_the_exact_command(tmp_path: Path) -> None:
    root = tmp_path / "my shards"
    message = refusal(wanted(root))
    assert f"srae-dist shard --size 64 --out '{root}' --seed 1" in message
    assert make_command(wanted(tmp_path, make=None)).endswith(f"--out {tmp_path}")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"domains": ["human", "cat"]}, ("human, anime", "human, cat", "data.domains")),
        ({"image_size": 32}, ("64 x 64", "data.image_size = 32", "--size 32")),
        ({"split": "trian"}, ("trian", "Did you mean 'train'?")),
    ],
)
def test_other_shards_than_wanted(
    root: Path, values: dict[str, object], parts: tuple[str, ...]
) -> None:
    message = refusal(wanted(root, **values))
    assert all(part in message for part in parts), message


def test_sizes_that_cannot_be_trained(root: Path) -> None:
    said = refusal(wanted(root), Model(code_size=6))
    assert "model.code_size = 6" in said and "set model.code_size = 2 or 4 or 8 or 16 or 32" in said
    save(root, size=100)
    assert "set model.code_size = 25, or shard again" in refusal(wanted(root))
    for size in (16, 33, 35, 512):  # code sizes of their own exist for none
        save(root, size=size)
        said = refusal(wanted(root))
        assert "32 to 256" in said and "--size 64, 128 or 256" in said
    save(root, size=None)
    assert "mixed sizes" in refusal(wanted(root))


def test_domains_that_cannot_be_trained(root: Path) -> None:
    save(root, counts={"human": 3, "anime": 0})
    assert "no image of domain 'anime'" in refusal(wanted(root))
    save(root, counts={"human": 3})
    assert "two or more" in refusal(wanted(root))


def test_shard_files_that_are_missing_or_cut_short(root: Path) -> None:
    shard = root / "train-000000.tar"
    shard.write_bytes(b"x" * 9)
    assert "has 9 bytes, not 10" in refusal(wanted(root))
    shard.unlink()
    assert "train-000000.tar is missing" in refusal(wanted(root))

"""Encoding a split: which images, in which order, with what is known of them, on any ranks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from srae_dist.core.errors import UserError
from srae_dist.data.opened import OpenSplit, open_split
from srae_dist.evaluate.encoding import encode_split
from srae_dist.evaluation.encode import choose_rows, encode_chunks, join
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.facts import factors_of, labels_of
from srae_dist.model.build import build_autoencoder
from srae_dist.translation.translator import Translator
from tests.data.tiny_shards import Tiny, corrupt, write_shards
from tests.translation.tiny import MODEL, SIZE

ROOT = Path(__file__).parents[2]


def translator(*domains: str, size: int = SIZE) -> Translator:
    """An untrained model of some domains."""
    return Translator(
        build_autoencoder(MODEL, image_size=size, seed=1),
        torch.zeros(len(domains), MODEL.domain_channels),
        domains=domains,
        image_size=size,
        step=1,
        recipe={},
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def faces(face_shards: Path) -> OpenSplit:
    return open_split(face_shards, "train")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return write_shards(tmp_path / "tiny", size=SIZE)


def test_rows_are_spread_over_the_split_in_order() -> None:
    domain = np.arange(4000) % 2
    rows = choose_rows(domain, ("photo", "anime"), per_domain=100, split="train")
    assert np.array_equal(rows, np.unique(rows))
    assert np.bincount(domain[rows]).tolist() == [100, 100]
    assert np.histogram(rows, bins=4, range=(0, 4000))[0].min() > 25
    fewer = choose_rows(domain, ("photo", "anime"), per_domain=10, split="train")
    assert set(fewer) < set(rows)
    other = choose_rows(domain, ("photo", "anime"), per_domain=100, split="test")
    assert set(other) != set(rows)


def test_rows_follow_the_domain_s_name_and_not_its_number() -> None:
    domain = np.arange(50) % 2
    one = choose_rows(domain, ("photo", "anime"), per_domain=5, split="train")
    two = choose_rows(1 - domain, ("anime", "photo"), per_domain=5, split="train")
    assert np.array_equal(one, two)


def test_few_images_are_all_taken() -> None:
    domain = np.array([0, 0, 1])
    for per_domain in (2, 9, None):
        rows = choose_rows(domain, ("a", "b"), per_domain=per_domain, split="train")
        assert rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_ranks_encode_the_same_chunks(world: int) -> None:
    rows = np.arange(100, 123)
    seen: list[list[int]] = []

    def read(some: np.ndarray) -> np.ndarray:
        seen.append(some.tolist())
        return np.zeros((len(some), 2, 2, 3), np.uint8) + some[:, None, None, None].astype(np.uint8)

    def encode(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = pixels[:, 0, 0, 0].astype(np.float32)
        return values.reshape(-1, 1, 1, 1), values[:, None]

    parts = [
        encode_chunks(rows, read=read, encode=encode, batch=5, rank=rank, world=world)
        for rank in range(world)
    ]
    pixels, content, domain_code = join(chunk for part in reversed(parts) for chunk in part)
    assert sorted(seen) == [list(range(start, min(start + 5, 123))) for start in range(100, 123, 5)]
    assert pixels[:, 1, 1, 2].tolist() == rows.tolist()
    assert content.ravel().tolist() == domain_code.ravel().tolist() == rows.tolist()


def test_a_split_is_encoded_in_the_model_s_order(faces: OpenSplit) -> None:
    model = translator("anime", "photo")  # the manifest has photo, anime
    got = encode_split(model, faces, per_domain=20)
    assert len(got) == 40
    assert got.domains == ("anime", "photo")
    truth = dict(zip((faces.index.key(i) for i in range(96)), faces.index.domain, strict=True))
    assert got.domain.tolist() == [1 - truth[key] for key in got.keys]
    assert list(got.keys) == sorted(got.keys)
    codes = model.encode(got.pixels[:5])
    assert np.allclose(got.content[:5], codes.content.mean.numpy(), atol=1e-5)
    assert np.allclose(got.domain_code[:5], codes.domain.mean.numpy(), atol=1e-5)


def test_codes_are_means_over_the_views_that_are_shown(faces: OpenSplit) -> None:
    model = translator("photo", "anime")
    plain = encode_split(model, faces, per_domain=3)
    got = encode_split(
        model, faces, per_domain=3, views=lambda pixels: (pixels, 255 - pixels, pixels[:, ::-1])
    )
    assert np.array_equal(got.pixels, plain.pixels)
    shown = [plain.pixels, 255 - plain.pixels, plain.pixels[:, ::-1]]
    codes = [model.encode(pixels) for pixels in shown]
    content = np.mean([code.content.mean.numpy() for code in codes], axis=0)
    domain = np.mean([code.domain.mean.numpy() for code in codes], axis=0)
    assert np.allclose(got.content, content, atol=1e-5)
    assert np.allclose(got.domain_code, domain, atol=1e-5)
    assert not np.allclose(got.domain_code, plain.domain_code, atol=1e-3)


def test_factors_are_those_the_faces_were_drawn_from(faces: OpenSplit) -> None:
    from srae_dist.data.faces import render

    got = encode_split(translator("photo", "anime"), faces, per_domain=3)
    table = np.stack(list(got.factors.values()), axis=1)
    from srae_dist.data.faces import FACTORS

    assert sorted(got.factors) == sorted(FACTORS)
    rows = np.stack([got.factors[name] for name in FACTORS], axis=1)
    for place in range(len(got)):
        name = got.domains[got.domain[place]]
        assert np.array_equal(
            render(rows[place : place + 1], name, size=SIZE)[0], got.pixels[place]
        )
    assert got.labels == {}
    assert np.isfinite(table).all()


def test_two_ranks_make_what_one_makes(faces: OpenSplit) -> None:
    model = translator("photo", "anime")
    one = encode_split(model, faces, per_domain=None, batch=16)
    first = encode_rank(model, faces, 0)
    two = encode_split(
        model, faces, per_domain=None, batch=16, rank=1, world=2, gather=lambda mine: first + mine
    )
    assert same(one, two)


def test_an_image_that_cannot_be_read_is_named(tiny: Tiny) -> None:
    corrupt(tiny, 6)
    opened = open_split(tiny.root, "train")
    model = translator("photo", "anime", "clay")
    with pytest.raises(UserError, match=r"0006 of .*train-000001\.tar"):
        encode_split(model, opened, per_domain=None)
    with pytest.raises(UserError, match="0006"):  # on the rank that read nothing of it, too
        others = encode_rank(model, opened, 0)
        encode_split(
            model, opened, per_domain=None, rank=1, world=2, gather=lambda mine: others + mine
        )


def encode_rank(model: Translator, opened: OpenSplit, rank: int) -> list[object]:
    """What a rank of two would send."""
    sent: list[object] = []

    def gather(mine: list[object]) -> list[object]:
        sent.extend(mine)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        encode_split(model, opened, per_domain=None, batch=16, rank=rank, world=2, gather=gather)
    return sent


def same(one: Encoded, two: Encoded) -> bool:
    arrays = ("pixels", "content", "domain_code", "domain")
    return one.keys == two.keys and all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in arrays
    )


@pytest.mark.parametrize(
    ("domains", "size", "message"),
    [
        (("photo", "anime"), SIZE, "never saw clay"),
        (("photo", "anime", "clay", "pencil"), SIZE, r"the shards lack pencil\); give"),
        (("photo", "anime", "clay"), 64, "images of 32 pixels, but the model takes 64"),
    ],
)
def test_shards_of_another_kind_are_refused(
    tiny: Tiny, domains: tuple[str, ...], size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        encode_split(translator(*domains, size=size), open_split(tiny.root, "train"), per_domain=1)


def test_a_domain_without_images_is_refused(tiny: Tiny) -> None:
    opened = open_split(tiny.root, "train")
    index = replace(opened.index, domain=opened.index.domain % 2)
    with pytest.raises(UserError, match="no image of the domain 'clay'"):
        encode_split(
            translator("clay", "photo", "anime"), replace(opened, index=index), per_domain=1
        )


def test_labels_are_found_beside_any_other_members(tmp_path: Path) -> None:
    extra = (("txt", b"x" * 700), ("json.bak", b"{"))
    tiny = write_shards(tmp_path / "tiny", size=SIZE, extra=extra)
    for shard in tiny.split.shards:  # of the same length, so that the index still holds
        path = tiny.root / shard.file
        data = re.sub(rb'"origin": "(\d+)\.png"', rb'"labels":{"a": \1}', path.read_bytes())
        path.write_bytes(data)
    opened = open_split(tiny.root, "train")
    got = encode_split(translator("photo", "anime", "clay"), opened, per_domain=4)
    assert got.labels["a"].tolist() == [str(int(key)) for key in got.keys]


def test_a_damaged_json_is_named(tiny: Tiny) -> None:
    path = tiny.root / tiny.split.shards[1].file
    path.write_bytes(path.read_bytes().replace(b'{"origin": "7.png"}', b'{"origin": "7.png""'))
    opened = open_split(tiny.root, "train")
    with pytest.raises(UserError, match=r"0007 of .*train-000001\.tar"):
        encode_split(translator("photo", "anime", "clay"), opened, per_domain=None)


def test_facts_of_other_programs_are_passed_over() -> None:
    infos = [{"labels": {"digit": 3}}, {"labels": [1]}, {}, {"labels": {"digit": "4", "x": None}}]
    labels = labels_of(infos)
    assert labels["digit"].tolist() == ["3", "", "", "4"]
    assert labels["x"].tolist() == [""] * 4
    factors = factors_of([{"factors": {"yaw": 0.5}}, {"factors": {"yaw": "left"}}, {}])
    assert factors["yaw"].tolist()[0] == 0.5
    assert np.isnan(factors["yaw"][1:]).all()


TWO = """
import json, sys
from srae_dist.runtime.launch import join_world
from srae_dist.evaluate.encoding import encode_split
from tests.evaluation.test_encode import translator
from srae_dist.data.opened import open_split
world = join_world(threads=1)
opened = open_split(sys.argv[1], "train")
got = encode_split(translator("photo", "anime"), opened, per_domain=30, batch=16,
                   rank=world.rank, world=world.size)
with open(f"{sys.argv[2]}/{world.rank}.json", "w") as file:
    json.dump([world.size, got.keys, got.content.sum((1, 2, 3)).tolist()], file)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
def test_two_processes_make_what_one_makes(face_shards: Path, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    command += ["2", str(script), str(face_shards), str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    environment |= {"ACCELERATE_USE_CPU": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    one = encode_split(
        translator("photo", "anime"), open_split(face_shards, "train"), per_domain=30, batch=16
    )
    for rank in range(2):
        size, keys, sums = json.loads((tmp_path / f"{rank}.json").read_text())
        assert size == 2
        assert tuple(keys) == one.keys
        assert np.allclose(sums, one.content.sum((1, 2, 3)), rtol=1e-5, atol=1e-5)

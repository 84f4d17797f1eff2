"""Fixed images of every domain: which they are, their mean codes, and their grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from srae_dist.data.local import LocalShards
from srae_dist.data.reader import Reader
from srae_dist.engine import showcase
from srae_dist.evaluation.grids import AIR, CAPTION, GAP
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.build import build_autoencoder
from srae_dist.model.pixels import to_float, to_uint8
from tests.data.tiny_shards import DOMAINS, Tiny, write_shards
from tests.objective.tiny import MODEL

CPU = torch.device("cpu")
CELL = 96 + GAP


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write_shards(tmp_path_factory.mktemp("shards"), samples=(20, 31, 9))


@pytest.fixture(scope="module")
def net() -> AutoEncoder:
    return build_autoencoder(MODEL, image_size=16, seed=0).eval()


def code_of(net: AutoEncoder, pixels: NDArray[np.uint8]) -> Tensor:
    with torch.no_grad():
        return net.encode(to_float(pixels, CPU)).domain.mean


def means(net: AutoEncoder, tiny: Tiny, picks: list[NDArray[np.int64]]) -> Tensor:
    reader = Reader(LocalShards(tiny.root, tiny.split), image_size=16)
    return showcase.mean_codes(net, reader.read, tiny.index, picks)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 12))
def test_picks_are_the_domain_s_own_and_spread(domains: list[int], count: int) -> None:
    picks = showcase.pick_evenly(np.array(domains, np.uint16), 4, count)
    assert len(picks) == 4
    for domain, samples in enumerate(picks):
        members = [i for i, d in enumerate(domains) if d == domain]
        assert len(samples) == min(count, len(members))
        assert all(domains[i] == domain for i in samples)
        assert (np.diff(samples) > 0).all()  # none twice
        if len(samples) > 1:
            assert samples[0] == members[0]
            assert samples[-1] == members[-1]
            steps = np.diff([members.index(i) for i in samples])
            assert steps.max() - steps.min() <= 1


def test_mean_codes_are_the_means_of_the_picked_images(tiny: Tiny, net: AutoEncoder) -> None:
    picks = showcase.pick_evenly(tiny.index.domain, len(DOMAINS), 7)
    table = means(net, tiny, picks)
    assert table.shape == (3, MODEL.domain_channels)
    assert table.dtype == torch.float32
    for row, samples in zip(table, picks, strict=True):
        expected = code_of(net, tiny.images[samples]).mean(dim=0)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(table[0], table[1], rtol=0, atol=1e-5)  # a table that says something


def test_mean_codes_need_not_fit_in_memory_at_once(
    tiny: Tiny, net: AutoEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    picks = showcase.pick_evenly(tiny.index.domain, len(DOMAINS), 20)
    whole = means(net, tiny, picks)
    monkeypatch.setattr(showcase, "CHUNK", 3)  # 20 = 6 x 3 + 2
    torch.testing.assert_close(means(net, tiny, picks), whole, rtol=1e-4, atol=1e-6)


def test_mean_codes_leave_no_graph(tiny: Tiny, net: AutoEncoder) -> None:
    assert not means(net, tiny, showcase.pick_evenly(tiny.index.domain, 3, 2)).requires_grad


def drawn(folder: Path, name: str) -> NDArray[np.uint8]:
    with Image.open(folder / f"step-7-{name}.png") as picture:
        return np.asarray(picture.convert("RGB"))


def tile(picture: NDArray[np.uint8], row: int, column: int, *, groups: int) -> NDArray[np.uint8]:
    """A grid's image at its own size, ``groups`` groups of rows begun above it."""
    top, left = GAP + row * CELL + groups * AIR, CAPTION + column * CELL
    return picture[top : top + 96 : 6, left : left + 96 : 6]


def test_grids_show_what_the_model_makes(tiny: Tiny, net: AutoEncoder, tmp_path: Path) -> None:
    images = [tiny.images[tiny.index.domain == d][:2] for d in range(3)]
    table = torch.randn(3, MODEL.domain_channels, generator=torch.Generator().manual_seed(0))
    folder = tmp_path / "samples"
    showcase.write_grids(net, table, DOMAINS, images, folder, "step-7")
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["step-7-reconstructions.png", "step-7-translations.png"]
    reconstructions, translations = (drawn(folder, n) for n in ("reconstructions", "translations"))
    with torch.no_grad():
        for s, pixels in enumerate(images):
            x = to_float(pixels, CPU)
            content = net.encode(x).content.mean
            rows = {2 * s: pixels, 2 * s + 1: to_uint8(net(x))}
            for row, expected in rows.items():
                for column in range(2):
                    assert close(tile(reconstructions, row, column, groups=s), expected[column])
            targets = [t for t in range(3) if t != s]
            for place, t in enumerate(targets):
                out = to_uint8(net.decode(content, table[t].expand(2, -1)))
                shown = tile(translations, 3 * s + 1 + place, 1, groups=s)
                assert close(shown, out[1])


def close(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Equal but for rounding to the next level."""
    return int(np.abs(a.astype(int) - b.astype(int)).max()) <= 1


def test_a_domain_without_held_out_images_keeps_its_rows(
    tiny: Tiny, net: AutoEncoder, tmp_path: Path
) -> None:
    images = [tiny.images[:2], tiny.images[:0], tiny.images[2:3]]
    table = torch.zeros(3, MODEL.domain_channels)
    showcase.write_grids(net, table, DOMAINS, images, tmp_path, "step-7")
    assert drawn(tmp_path, "reconstructions").shape[1] == CAPTION + 2 * CELL


def test_equal_weights_draw_equal_bytes(tiny: Tiny, net: AutoEncoder, tmp_path: Path) -> None:
    table = torch.zeros(3, MODEL.domain_channels)
    images = [tiny.images[d : d + 2] for d in range(3)]
    for name in ("one", "two"):
        showcase.write_grids(net, table, DOMAINS, images, tmp_path / name, "x")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()

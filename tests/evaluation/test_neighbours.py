"""Content codes indexed, saved, loaded and searched; neighbours as a report shows them."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from srae_dist.core.errors import UserError
from srae_dist.evaluation import index_file
from srae_dist.evaluation.build_index import CHUNK, Built, build, count_encodings
from srae_dist.evaluation.content_space import fit_space
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.exact import ExactSearch, recall
from srae_dist.evaluation.index_file import Origin
from srae_dist.evaluation.neighbour_picture import Tile, neighbour_picture
from srae_dist.evaluation.neighbours import neighbours_section

DOMAINS = ("photo", "anime")
WIDTH = 160
ORIGIN = Origin("c" * 64, "s" * 64, "train", DOMAINS)


class Codes:
    """Content codes of pairs: sample i and sample i + n/2 show the same, in two domains."""

    def __init__(
        self, pairs: int = 150, *, rank: int = 20, unreadable: tuple[int, ...] = ()
    ) -> None:
        random = np.random.default_rng(0)
        content = random.standard_normal((pairs, rank)) @ random.standard_normal((rank, WIDTH))
        noise = 0.3 * random.standard_normal((2 * pairs, WIDTH))
        self.pairs, self.unreadable = pairs, unreadable
        self.domain = np.repeat([0, 1], pairs)
        shift = 30.0 * random.standard_normal((2, WIDTH))  # far more than what images differ by
        self.codes = (np.tile(content, (2, 1)) + noise + shift[self.domain]).astype(np.float32)
        self.keys = np.array([f"{number:05d}" for number in range(2 * pairs)], "S")
        self.asked: list[int] = []

    def encode(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert len(rows) <= CHUNK
        self.asked += rows.tolist()
        good = rows[~np.isin(rows, self.unreadable)]
        return good, self.codes[good]

    def build(self, **options: Any) -> Built:
        return build(
            self.domain, self.keys, domains=DOMAINS, split="train", encode=self.encode, **options
        )

    def load(self, path: Path, **changes: Any) -> index_file.Stored:
        known = {"width": WIDTH, "domain": self.domain, "keys": self.keys, "origin": ORIGIN}
        return index_file.load(path, **{**known, **changes})


@pytest.fixture(scope="module")
def codes() -> Codes:
    return Codes()


@pytest.fixture(scope="module")
def built(codes: Codes) -> Built:
    return codes.build()


@pytest.fixture
def saved(built: Built, tmp_path: Path) -> Path:
    path = tmp_path / "neighbours-train.safetensors"
    index_file.save(path, built, ORIGIN)
    return path


def test_the_same_content_is_found_in_the_other_domain(codes: Codes, built: Built) -> None:
    queries = np.arange(0, codes.pairs, 7)
    found = built.index.search(codes.codes[queries], own="photo", domain="anime", k=3)
    assert found.rows[:, 0].tolist() == (queries + codes.pairs).tolist()
    assert found.keys[1][0] == f"{queries[1] + codes.pairs:05d}"
    assert found.distances.shape == (len(queries), 3)
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_without_its_own_mean_removed_a_query_finds_nothing(codes: Codes, built: Built) -> None:
    queries = np.arange(codes.pairs)
    right, wrong = (
        built.index.search(codes.codes[queries], own=own, domain="anime", k=1).rows[:, 0]
        for own in ("photo", "anime")
    )
    assert (right == queries + codes.pairs).mean() == 1.0
    assert (wrong == queries + codes.pairs).mean() < 0.2


def test_distances_are_cosine_distances_of_whole_codes(codes: Codes, built: Built) -> None:
    found = built.index.search(codes.codes[:5], own="photo", domain="anime", k=4)
    means = np.stack([codes.codes[codes.domain == d].mean(axis=0) for d in (0, 1)])
    for query in range(5):
        a = codes.codes[query] - means[0]
        for row, distance in zip(found.rows[query], found.distances[query], strict=True):
            b = codes.codes[row] - means[1]
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert distance == pytest.approx(1 - cosine, abs=0.02)


def test_an_image_is_its_own_nearest(codes: Codes, built: Built) -> None:
    found = built.index.search(codes.codes[:20], own="photo", domain="photo", k=1)
    assert found.rows[:, 0].tolist() == list(range(20))
    assert found.distances.max() < 0.01


def test_each_query_may_have_its_own_domain(codes: Codes, built: Built) -> None:
    rows = [3, codes.pairs + 3]
    found = built.index.search(codes.codes[rows], own=["photo", "anime"], domain="photo", k=1)
    assert found.rows[:, 0].tolist() == [3, 3]


def test_content_maps_need_not_be_flat(codes: Codes, built: Built) -> None:
    flat = built.index.search(codes.codes[:3], own="photo", domain="anime", k=2)
    maps = codes.codes[:3].reshape(3, 10, 4, 4)
    assert built.index.search(maps, own="photo", domain="anime", k=2).keys == flat.keys


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": "anme"}, "no domain 'anme'; there are photo, anime. Did you mean 'anime'?"),
        ({"own": "phot"}, "no domain 'phot'"),
        ({"k": 0}, "-k must be 1 or more"),
        ({"k": 151}, "151 neighbours cannot be found among 150 images of 'anime'"),
        ({"codes": np.zeros((1, 8))}, "have 8 numbers, not 160"),
        ({"codes": np.full((1, WIDTH), np.nan)}, "not finite"),
    ],
)
def test_what_cannot_be_searched(built: Built, options: dict[str, Any], message: str) -> None:
    given = {"codes": np.ones((1, WIDTH)), "own": "photo", "domain": "anime", "k": 5, **options}
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        built.index.search(given.pop("codes"), **given)


def test_the_recall_is_that_of_exact_search(codes: Codes, built: Built) -> None:
    assert built.quality.recall == 1.0 and 0.95 < built.quality.recall_alone <= 1.0
    assert built.codes.shape == (300, 128)
    assert built.quality.queries == 38 and built.quality.fitted_on == 262
    assert 0.9 < built.quality.kept <= 1.0


@pytest.fixture(scope="module")
def noise() -> Codes:
    """Codes that differ in all their directions: 128 numbers cannot hold them."""
    codes = Codes(400)
    shape = codes.codes.shape
    codes.codes = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return codes


def test_a_bad_recall_is_told_and_a_shortlist_mends_it(noise: Codes) -> None:
    built = noise.build()
    assert built.quality.recall_alone < 0.9 and built.quality.recall > 0.98
    assert 0.8 < built.quality.kept < 0.95
    fresh = np.random.default_rng(2).standard_normal((90, WIDTH)).astype(np.float32)
    space = built.index.space
    asked = space.unit(fresh, np.zeros(90, np.int64))
    theirs = space.unit(noise.codes[400:], np.ones(400, np.int64))
    exact = np.argsort(-(asked @ theirs.T), axis=1)[:, :5] + 400

    def share(**options: Any) -> float:
        rows = built.index.search(fresh, own="photo", domain="anime", k=5, **options).rows
        return float(np.mean([recall(a, b) for a, b in zip(exact, rows, strict=True)]))

    assert share() == pytest.approx(built.quality.recall_alone, abs=0.06)
    assert share(whole=lambda rows: noise.codes[rows]) > 0.98


def test_whole_codes_give_exact_distances(noise: Codes) -> None:
    index, asked = noise.build().index, []

    def whole(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return noise.codes[rows]

    found = index.search(noise.codes[:2], own="photo", domain="anime", k=6, whole=whole)
    units = index.space.unit(noise.codes, noise.domain)
    for query in range(2):
        exact = 1 - units[found.rows[query]] @ units[query]
        assert found.distances[query] == pytest.approx(exact, abs=1e-6)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert len(asked) == len(set(asked)) and 60 <= len(asked) <= 120
    assert found.keys[0][0] == f"{found.rows[0][0]:05d}"
    assert index.search(noise.codes[:1], own="photo", domain="photo", k=1, whole=whole).distances[
        0, 0
    ] == pytest.approx(0, abs=1e-6)


def test_all_images_are_encoded_once(codes: Codes) -> None:
    codes.asked.clear()
    codes.build()
    assert sorted(codes.asked) == list(range(300))
    assert count_encodings(codes.domain, domains=2) == 300


def test_a_split_larger_than_the_sample_is_streamed(codes: Codes, built: Built) -> None:
    codes.asked.clear()
    streamed = codes.build(sample=150)
    assert len(codes.asked) == 450 == count_encodings(codes.domain, domains=2, sample=150)
    assert streamed.quality.fitted_on + streamed.quality.queries == 150
    assert streamed.quality.recall > 0.95
    assert np.array_equal(streamed.index.rows, built.index.rows)
    found = streamed.index.search(codes.codes[:9], own="photo", domain="anime", k=1)
    assert found.rows[:, 0].tolist() == list(range(150, 159))


def test_memory_does_not_grow_with_whole_codes() -> None:
    n, width = 8_000, 512

    def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(int(rows[0]))
        return rows, random.standard_normal((len(rows), width), np.float32)

    domain, keys = np.arange(n) % 2, np.array([b"key"]).repeat(n)
    options = {"domains": DOMAINS, "split": "train", "encode": encode, "sample": 256}
    build(domain[:300], keys[:300], **options)  # what is imported and kept is not counted
    tracemalloc.start()
    built = build(domain, keys, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert built.codes.shape == (n, 128)
    assert peak < built.codes.nbytes + 4e6 < n * width * 4 / 2


def test_unreadable_images_are_left_out_and_counted() -> None:
    codes = Codes(unreadable=(0, 70, 299))
    for sample in (1000, 100):
        made = codes.build(sample=sample)
        assert made.unreadable.tolist() == [0, 70, 299]
        assert made.index.counts == (148, 149) and len(made.codes) == 297
        found = made.index.search(codes.codes[[1, 148]], own="photo", domain="anime", k=149)
        assert sorted(found.rows[0].tolist()) == list(range(150, 299))
        assert found.rows[:, 0].tolist() == [151, 298]


def test_a_domain_of_unreadable_images_is_refused() -> None:
    with pytest.raises(UserError, match="None of the images of 'photo'"):
        Codes(10, unreadable=tuple(range(10))).build()


def test_two_images_are_enough(tmp_path: Path) -> None:
    codes = Codes(1)
    made = codes.build()
    assert made.quality.queries == 0 and made.quality.recall is None
    path = tmp_path / "tiny.safetensors"
    index_file.save(path, made, ORIGIN)
    found = codes.load(path).index.search(codes.codes[:1], own="photo", domain="anime", k=1)
    assert found.keys == [["00001"]]


def test_exact_search_over_chunks_finds_what_sorting_finds() -> None:
    random = np.random.default_rng(0)
    units = random.standard_normal((90, 12)).astype(np.float32)
    domain, rows = random.integers(0, 3, 90), np.arange(90)
    exact = ExactSearch(units[:7], rows[:7], domains=3, k=4)
    for start in range(0, 90, 13):
        part = slice(start, start + 13)
        exact.add(units[part], rows[part], domain[part])
    scores = units[:7] @ units.T
    for query in range(7):
        for number in range(3):
            mine = [row for row in np.flatnonzero(domain == number) if row != query]
            best = sorted(mine, key=lambda row: -scores[query, row])[:4]
            assert exact.best(number)[query].tolist() == best


def test_exact_search_in_a_domain_of_few_images() -> None:
    exact = ExactSearch(np.eye(2, dtype=np.float32), np.arange(2), domains=2, k=3)
    exact.add(np.eye(2, dtype=np.float32), np.arange(2), np.array([0, 1]))
    assert [found.tolist() for found in exact.best(0)] == [[], [0]]


def test_recall_is_a_share() -> None:
    assert recall(np.array([4, 2, 9, 7]), np.array([9, 1, 4])) == 0.5


def test_directions_are_those_of_the_largest_spread() -> None:
    random = np.random.default_rng(0)
    codes = random.standard_normal((500, 40)).astype(np.float32) * 0.01
    codes[:, 5] += random.standard_normal(500)
    codes[:, 11] += 0.5 * random.standard_normal(500)
    space = fit_space(codes, np.zeros(500, np.int64), domains=1, numbers=2)
    assert np.abs(space.directions).argmax(axis=0).tolist() == [5, 11]
    assert space.directions.T @ space.directions == pytest.approx(np.eye(2), abs=1e-5)


def test_a_saved_index_answers_as_the_built_one(codes: Codes, built: Built, saved: Path) -> None:
    stored = codes.load(saved)
    assert stored.quality == built.quality and stored.unreadable == 0
    for domain in DOMAINS:
        a, b = (
            index.search(codes.codes[:9], own="photo", domain=domain, k=5)
            for index in (built.index, stored.index)
        )
        assert a.keys == b.keys and np.array_equal(a.distances, b.distances)


def test_the_same_images_give_the_same_bytes(codes: Codes, saved: Path, tmp_path: Path) -> None:
    index_file.save(tmp_path / "again.safetensors", codes.build(), ORIGIN)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "d" * 64}, "was built with another checkpoint; build it again"),
        ({"shards": "d" * 64}, "from other shards, or these have changed since"),
        ({"split": "test"}, "from another split"),
        ({"domains": ("anime", "photo")}, "with other domains"),
    ],
)
def test_a_stale_index_is_refused(
    codes: Codes, saved: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        codes.load(saved, origin=replace(ORIGIN, **change))


Tables = dict[str, np.ndarray]


def _set(name: str, place: Any, value: Any) -> Callable[[Tables, dict[str, Any]], None]:
    def change(tables: Tables, header: dict[str, Any]) -> None:
        tables[name][place] = value

    return change


def _shape(name: str, *shape: int) -> Callable[[Tables, dict[str, Any]], None]:
    def change(tables: Tables, header: dict[str, Any]) -> None:
        tables[name] = np.ones(shape, tables[name].dtype)

    return change


def _head(**values: Any) -> Callable[[Tables, dict[str, Any]], None]:
    def change(tables: Tables, header: dict[str, Any]) -> None:
        header.update(values)

    return change


def _drop(name: str) -> Callable[[Tables, dict[str, Any]], None]:
    def change(tables: Tables, header: dict[str, Any]) -> None:
        tables.pop(name, None)
        header.pop(name, None)

    return change


def _retype(name: str, kind: str) -> Callable[[Tables, dict[str, Any]], None]:
    def change(tables: Tables, header: dict[str, Any]) -> None:
        tables[name] = tables[name].astype(kind)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_head(format="other"), "no index of srae_dist"),
        (_head(version=2), "index version 2, this srae_dist reads 1"),
        (_head(version="\x1b[2J"), "index version unknown"),
        (_head(counts=[149, 151]), "not those of the shards"),
        (_head(counts=[-1, 301]), "no numbers"),
        (_head(counts=[1 << 62, 1 << 62]), "images of 300"),
        (_head(counts=[150, 150, 0]), "means have the shape"),
        (_head(counts=None), "no numbers"),
        (_head(quality={"recall": 1.0}), "damaged"),
        (_head(quality=[]), "damaged"),
        (_head(unreadable="none"), "does not say how many"),
        (_drop("quality"), "'quality' is missing"),
        (_drop("rows"), "its tables are not codes, directions, means, rows"),
        (_retype("codes", "f4"), "codes are of type F32"),
        (_retype("rows", "i4"), "rows are of type I32"),
        (_shape("codes", 300, 127), "codes have the shape"),
        (_shape("directions", WIDTH, 129), "129 numbers"),
        (_shape("directions", WIDTH, 0), "0 numbers"),
        (_shape("directions"), "0 numbers"),
        (_shape("means", 2, WIDTH + 1), "means have the shape"),
        (_shape("rows", 301), "rows have the shape"),
        (_set("rows", 299, 4_000_000_000), "the shards do not have"),
        (_set("rows", 1, 0), "not those of the shards"),
        (_set("rows", 0, 299), "not those of the shards"),
        (_set("means", 0, np.nan), "not finite"),
        (_set("directions", 0, np.inf), "directions are none"),
        (_set("directions", 0, 3e38), "directions are none"),
    ],
)
def test_a_damaged_index_is_refused(
    codes: Codes,
    saved: Path,
    change: Callable[[Tables, dict[str, Any]], None],
    message: str,
) -> None:
    with safe_open(saved, framework="np") as file:
        header = json.loads(file.metadata()["srae_dist"])
        tables = {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118
    change(tables, header)
    save_file(tables, saved, metadata={"srae_dist": json.dumps(header)})
    with pytest.raises(UserError, match=message) as error:
        codes.load(saved)
    assert str(error.value).startswith(str(saved)) and "--rebuild" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_codes_that_are_not_finite_are_refused(codes: Codes, saved: Path, value: float) -> None:
    with safe_open(saved, framework="np") as file:
        metadata = file.metadata()
        tables = {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118
    tables["codes"][200, 3] = value
    save_file(tables, saved, metadata=metadata)
    index = codes.load(saved).index
    index.search(codes.codes[:1], own="photo", domain="photo", k=1)
    with pytest.raises(UserError, match="codes are not finite"):
        index.search(codes.codes[:1], own="photo", domain="anime", k=1)


def _claims(size: int) -> bytes:
    """A header that claims tables of a size that is not there."""
    entry = {"dtype": "F16", "shape": [size, 128], "data_offsets": [0, size * 256]}
    text = json.dumps({"codes": entry, "__metadata__": {"srae_dist": "{}"}}).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 64,
        b"\xff" * 64,
        struct.pack("<Q", 1 << 60) + b"{}",
        _claims(1 << 40),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_a_file_of_anything_is_refused(codes: Codes, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "index.safetensors"
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        codes.load(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_file_cut_short_is_refused(codes: Codes, saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="is damaged"):
        codes.load(saved)


def test_a_file_that_is_not_there_is_told(codes: Codes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        codes.load(tmp_path / "none.safetensors")


def encoded(codes: Codes, rows: np.ndarray, *, labels: bool = True) -> Encoded:
    """Images whose content is known, labelled by the pair's number modulo 3."""
    n = len(rows)
    names = np.array([str(row % codes.pairs % 3) for row in rows])
    return Encoded(
        pixels=np.full((n, 8, 8, 3), 90, np.uint8),
        content=codes.codes[rows].reshape(n, 10, 4, 4),
        domain_code=np.zeros((n, 3), np.float32),
        domain=codes.domain[rows],
        keys=tuple(f"key-{row}" for row in rows),
        domains=DOMAINS,
        labels={"content": names} if labels else {},
        factors={},
    )


def test_the_section_finds_the_same_content_in_the_other_domain(codes: Codes) -> None:
    test, train = encoded(codes, np.arange(0, 300, 4)), encoded(codes, np.arange(300))
    section = neighbours_section(test, train, k=1, queries=3)
    values = section.values
    assert [query["domain"] for query in values["queries"]] == ["photo"] * 3 + ["anime"] * 3
    for query in values["queries"]:
        (found,) = query["neighbours"]
        twin = (int(query["key"][4:]) + 150) % 300
        assert found["key"] == f"key-{twin}" and found["domain"] != query["domain"]
    for name, images in (("photo", 38), ("anime", 37)):
        of = values["of"][name]
        assert of["images"] == images and of["distinct"] == 1.0
        assert 0 < of["nearest"] == of["last"] < 0.2
        assert of["labels"] == {"content": {"same": 1.0, "chance": pytest.approx(1 / 3)}}
    assert json.loads(json.dumps(values)) == values
    assert [picture.name for picture in section.pictures] == [
        "neighbours_photo",
        "neighbours_anime",
    ]
    assert len(section.tables[0].rows[0]) == len(section.tables[0].columns) == 7


def test_unrelated_codes_are_found_by_chance(codes: Codes) -> None:
    test, train = encoded(codes, np.arange(300)), encoded(codes, np.arange(300))
    random = np.random.default_rng(3)
    for images in (test, train):
        images.content[:] = random.standard_normal(images.content.shape)
    of = neighbours_section(test, train).values["of"]["photo"]
    assert of["labels"]["content"]["same"] == pytest.approx(1 / 3, abs=0.08)
    assert of["distinct"] < 1.0 and of["nearest"] > 0.6


def test_a_section_without_labels_or_queries(codes: Codes) -> None:
    train = encoded(codes, np.arange(300), labels=False)
    section = neighbours_section(train.of(0), train)
    assert section.values["of"]["photo"]["labels"] == {}
    assert section.values["of"]["anime"]["images"] == 0
    assert len(section.pictures) == 1


def test_a_section_of_more_neighbours_than_images(codes: Codes) -> None:
    few = encoded(codes, np.array([0, 1, 150, 151]))
    with pytest.raises(UserError, match="3 neighbours cannot be found among 2 images"):
        neighbours_section(few, few, k=3)


def test_the_picture_shows_the_query_and_what_was_found() -> None:
    def tile(level: int) -> Tile:
        pixels = np.full((32, 32, 3), (level, 0, 255 - level), np.uint8)  # unlike any text
        return Tile(pixels, "train-" + 40 * "0", "0.123")

    levels = (10, 60, 110, 160, 210)
    image = neighbour_picture([(tile(10), [tile(60), tile(110)]), (tile(160), [tile(210)])])
    pixels = np.asarray(image)
    found = {
        level: np.argwhere((pixels == (level, 0, 255 - level)).all(axis=2)) for level in levels
    }
    tops = {level: places.min(axis=0).tolist() for level, places in found.items()}
    assert tops[10][0] == tops[60][0] == tops[110][0] < tops[160][0] == tops[210][0]
    assert tops[10][1] == tops[160][1] < tops[60][1] == tops[210][1] < tops[110][1]
    for places in found.values():  # enlarged fourfold, nothing drawn over them
        assert (places.max(axis=0) - places.min(axis=0) + 1).tolist() == [128, 128]

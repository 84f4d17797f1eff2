"""Output paths: each image has its own on every file system, and none leaves the folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.core.errors import SampleError
from srae_dist.translation.naming import image_names, safe_key


def test_only_the_suffix_changes() -> None:
    assert image_names(["a.jpg", "d/b.PNG", "d/x.y.webp"], "png") == [
        "a.png",
        "d/b.png",
        "d/x.y.png",
    ]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg.png", "a.png.png", "b.png"]),
        (["A.jpg", "a.png"], ["A.jpg.png", "a.png.png"]),
        (["a.jpg", "a.png/b.jpg"], ["a.jpg.png", "a.png/b.png"]),
        (["d/a.jpg", "e/a.jpg"], ["d/a.png", "e/a.png"]),
    ],
)
def test_those_that_would_collide_keep_their_suffix(paths: list[str], names: list[str]) -> None:
    assert image_names(paths, "png") == names


def test_what_collides_even_so_is_told_apart() -> None:
    paths = ["a.jpg", "a.png", "a.jpg.jpg", "A.jpg"]
    names = image_names(paths, "png")
    assert len({name.casefold() for name in names}) == len(paths)
    assert all(name.endswith(".png") for name in names)


NAMES = st.lists(
    st.from_regex(r"([aAé]/)?[aAb]{1,2}(\.(jpg|png|JPG)){1,2}", fullmatch=True),
    unique=True,
    max_size=12,
)


@given(NAMES)
def test_names_are_unique_and_independent_of_order(paths: list[str]) -> None:
    names = dict(zip(paths, image_names(paths, "png"), strict=True))
    assert len({name.casefold() for name in names.values()}) == len(paths)
    assert all(name.rpartition("/")[0] == path.rpartition("/")[0] for path, name in names.items())
    shuffled = sorted(paths, reverse=True)
    assert dict(zip(shuffled, image_names(shuffled, "png"), strict=True)) == names


@pytest.mark.parametrize(
    "key",
    [
        "../x",
        "a/../../x",
        "/x",
        "a\\b",
        "c:x",
        "C:/x",
        "a\0b",
        "",
        "a//b",
        ".",
        "a/",
        "a\nb",
        "...",
    ],
)
def test_unsafe_keys_are_refused(key: str) -> None:
    with pytest.raises(SampleError, match="no safe name"):
        safe_key(key)


@pytest.mark.parametrize("key", ["train-000001", "a/b_c", "x..y", "Ünï"])
def test_safe_keys_pass(key: str) -> None:
    assert safe_key(key) == key

"""Digests and tar headers: the same as the standard library's, however the bytes are cut."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.data import digests
from srae_dist.data.digests import BlockDigests, digests_of_file
from srae_dist.data.manifest import BLOCK
from srae_dist.data.tar import Tar, header


@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_blocks_do_not_depend_on_the_pieces(pieces: list[bytes], block: int) -> None:
    data = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "BLOCK", block)
        made = BlockDigests()
        for piece in pieces:
            made.update(piece)
        blocks = made.digests()
    cut = [data[start : start + block] for start in range(0, len(data), block)]
    assert blocks.shape == (len(cut), 32)
    assert blocks.tobytes() == b"".join(hashlib.sha256(part).digest() for part in cut)
    assert (made.sha256(), made.bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@given(st.from_regex(r"[a-z0-9_-]{1,150}\.jpg", fullmatch=True), st.integers(0, 1 << 30))
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    try:
        wanted = info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:
        with pytest.raises(ValueError, match="name is too long"):
            header(name, size)
    else:
        assert header(name, size) == wanted


def test_a_tar_of_several_blocks(tmp_path: Path) -> None:
    members = [(f"{number}.jpg", bytes([number]) * (BLOCK // 3 + number)) for number in range(7)]
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        tar = Tar(file)
        places = [tar.add(*member) for member in members]
        tar.end()
    data = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        assert [(m.name, m.offset_data, m.size) for m in read] == [
            (name, place, len(held)) for (name, held), place in zip(members, places, strict=True)
        ]
    whole = digests_of_file(path)
    assert (tar.bytes, tar.sha256()) == (len(data), hashlib.sha256(data).hexdigest())
    assert (whole.bytes, whole.sha256()) == (tar.bytes, tar.sha256())
    assert (whole.digests() == tar.blocks()).all()
    assert len(tar.blocks()) == -(-len(data) // BLOCK) > 2

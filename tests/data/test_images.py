"""One decode for every kind of file, one encode, and an honest resize."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srae_dist.core.errors import SampleError
from srae_dist.data import fast, images
from srae_dist.data.resize import resize_square

RED, BLUE = (250, 10, 10), (10, 10, 250)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = images.decode(data)
    assert image.mode == "RGB"
    return image.getpixel((x, y))  # type: ignore[return-value]


def two_colours(width: int = 40, height: int = 20) -> Image.Image:
    """Red on the left half, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def png_16_bits(values: np.ndarray, colour_type: int, *, clear: int | None = None) -> bytes:
    """A PNG that Pillow itself cannot write: 16 bits a channel, ``clear`` the grey that is none."""
    height, width = values.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    body = chunk(b"IHDR", header)
    body += b"" if clear is None else chunk(b"tRNS", struct.pack(">H", clear))
    return signature + body + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_grey_becomes_rgb(kind: str) -> None:
    assert pixel(file_of(Image.new("L", (8, 8), 77), kind)) == pytest.approx((77,) * 3, abs=2)


def test_palette_and_bilevel_become_rgb() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, *RED])
    assert pixel(file_of(palette)) == RED
    assert pixel(file_of(Image.new("1", (8, 8), 1))) == (255, 255, 255)


def test_transparency_shows_white() -> None:
    assert pixel(file_of(Image.new("RGBA", (8, 8), (*RED, 0)))) == (255, 255, 255)
    assert pixel(file_of(Image.new("LA", (8, 8), (0, 128)))) == pytest.approx((127,) * 3, abs=1)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, *RED])
    assert pixel(file_of(palette, transparency=1)) == (255, 255, 255)
    assert pixel(file_of(Image.new("RGB", (8, 8), RED), transparency=RED)) == (255, 255, 255)
    assert pixel(file_of(Image.new("RGB", (8, 8), RED), transparency=BLUE)) == RED
    webp = file_of(Image.new("RGBA", (8, 8), (*RED, 0)), "WEBP", lossless=True)
    assert pixel(webp) == (255, 255, 255)


def test_16_bits_keep_their_high_byte() -> None:
    grey = np.array([[0, 0x1234, 0xFFFF]], np.uint16)
    stored = png_16_bits(grey, 0)
    assert [pixel(stored, x)[0] for x in range(3)] == [0, 0x12, 0xFF]
    colour = np.array([[[0x1234, 0x8080, 0xFFFF]]], np.uint16)
    assert pixel(png_16_bits(colour, 2)) == (0x12, 0x80, 0xFF)
    clear = np.array([[[0x1234, 0x8080, 0xFFFF, 0]]], np.uint16)
    assert pixel(png_16_bits(clear, 6)) == (255, 255, 255)
    stored = png_16_bits(grey, 0, clear=0x1234)
    assert [pixel(stored, x)[0] for x in range(3)] == [0, 0xFF, 0xFF]


def test_cmyk_becomes_rgb() -> None:
    cyan = file_of(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)
    assert pixel(cyan) == pytest.approx((0, 255, 255), abs=4)


@pytest.mark.parametrize(
    ("orientation", "red_at", "size"),
    [
        (1, (1, 10), (40, 20)),
        (2, (38, 10), (40, 20)),
        (3, (38, 10), (40, 20)),
        (4, (1, 10), (40, 20)),
        (5, (10, 1), (20, 40)),
        (6, (10, 1), (20, 40)),
        (7, (10, 38), (20, 40)),
        (8, (10, 38), (20, 40)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(
    kind: str, orientation: int, red_at: tuple[int, int], size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(two_colours(), kind, exif=exif)
    assert images.decode(data).size == size
    assert pixel(data, *red_at) == pytest.approx(RED, abs=12)


def test_damaged_exif_does_not_spoil_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_of(two_colours(), "JPEG", exif=exif)
    place = data.index(b"Exif") + 6
    assert images.decode(data[:place] + b"????????" + data[place + 8 :]).size == (40, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cut_short(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = file_of(Image.fromarray(noise), kind)
    for keep in (10, 100, len(data) // 2):
        with pytest.raises(SampleError):
            images.decode(data[:keep])


def test_empty_misnamed_and_foreign_files() -> None:
    with pytest.raises(SampleError, match="empty"):
        images.decode(b"")
    for data in (b"<html>not an image</html>", file_of(two_colours(), "GIF"), b"BM" + bytes(60)):
        with pytest.raises(SampleError, match="not a JPEG, PNG or WEBP"):
            images.decode(data)


def test_bombs_are_refused_by_their_header(recwarn: pytest.WarningsRecorder) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT"
    for read in (images.decode, images.read_size):
        with pytest.raises(SampleError, match="pixels"):
            read(bomb)
    with pytest.raises(SampleError, match="40 x 20 is more than 100 pixels"):
        images.decode(file_of(two_colours()), max_pixels=100)
    assert images.read_size(file_of(two_colours())) == (40, 20)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_a_sample_error_or_an_image(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"]))
    file = bytearray(file_of(two_colours(), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = images.decode(bytes(file))
    except SampleError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert image.mode == "RGB"


def test_crop_is_centred_and_square() -> None:
    image = Image.new("RGB", (300, 100), RED)
    image.paste(BLUE, (100, 0, 200, 100))
    assert (resize_square(np.asarray(image), 10) == BLUE).all()
    assert (resize_square(np.asarray(image.rotate(90, expand=True)), 10) == BLUE).all()


@pytest.mark.parametrize("side", [100, 512, 1000])
def test_resize_is_antialiased(side: int) -> None:
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_square(stripes, 20)
    assert small.shape == (20, 20, 3) and small.dtype == np.uint8
    assert abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 6


def test_the_right_size_is_not_resampled() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    data = images.encode(noise, format="png")
    decoded = images.decode_array(data, 32)
    assert (decoded == noise).all() and decoded.flags.writeable
    assert images.decode_array(data, 16).shape == (16, 16, 3)


def photo(width: int = 64, height: int = 64) -> Image.Image:
    """Smooth colours with some noise, as photographs have them."""
    random = np.random.default_rng(1)
    small = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noisy = smooth + random.integers(-9, 10, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


PLAIN = {
    "jpg": ("JPEG", {"quality": 90}),
    "jpg, half chroma": ("JPEG", {"quality": 80, "subsampling": 2}),
    "jpg, progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 80}),
    "webp, lossless": ("WEBP", {"lossless": True}),
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", PLAIN)
def test_the_fast_way_gives_the_careful_way_s_pixels(name: str, mode: str) -> None:
    kind, options = PLAIN[name]
    data = file_of(photo().convert(mode), kind, **options)
    out = np.empty((64, 64, 3), np.uint8)
    assert fast.decode_into(data, out)  # else it would be slow, and nobody would know
    assert (out == np.asarray(images.decode(data))).all()
    wide = file_of(photo(80, 50).convert(mode), kind, **options)
    pixels = fast.decode_plain(wide, max_pixels=4000)
    assert pixels is not None and (pixels == np.asarray(images.decode(wide))).all()
    assert fast.decode_plain(wide, max_pixels=3999) is None


def test_what_lies_behind_a_plain_head_is_still_looked_at() -> None:
    """A file that begins like the last plain one, but goes on with an orientation."""
    plain = file_of(photo(), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = file_of(photo(), "JPEG", exif=exif)
    begin = turned.index(b"\xff\xe1")
    segment = turned[begin : begin + 2 + int.from_bytes(turned[begin + 2 : begin + 4], "big")]
    scan = plain.index(b"\xff\xda")
    tricky = plain[:scan] + segment + plain[scan:]
    out = np.empty((64, 64, 3), np.uint8)
    assert fast.decode_into(plain, out) and not fast.decode_into(tricky, out)
    assert (images.decode_array(tricky, 64) == out[::-1, ::-1]).all()


def unlike() -> dict[str, bytes]:
    """Files that mean more than their pixels, or are damaged."""
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = Image.new("RGBA", (64, 64), (*RED, 40))
    png = file_of(photo())
    return {
        "oriented jpg": file_of(photo(), "JPEG", exif=exif),
        "oriented png": file_of(photo(), "PNG", exif=exif),
        "oriented webp": file_of(photo(), "WEBP", exif=exif),
        "cmyk": file_of(photo().convert("CMYK"), "JPEG"),
        "transparent png": file_of(clear),
        "transparent webp": file_of(clear, "WEBP"),
        "transparent lossless webp": file_of(clear, "WEBP", lossless=True),
        "transparent colour": file_of(photo(), "PNG", transparency=RED),
        "palette": file_of(photo().convert("P")),
        "two levels": file_of(photo().convert("1")),
        "16 bits": png_16_bits(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), 0),
        "animation": file_of(photo(), "PNG", save_all=True, append_images=[photo(64, 64)]),
        "other size": file_of(photo(32, 32)),
        "same area": file_of(photo(32, 128), "JPEG"),
        "cut png": png[: len(png) // 2],
        "cut jpg": file_of(photo(), "JPEG")[:-200],
        "cut webp": file_of(photo(), "WEBP")[:-200],
        "gif": file_of(photo(), "GIF"),
        "nothing": b"",
        "signature": png[:12],
    }


@pytest.mark.parametrize("name", unlike())
def test_what_is_not_plain_is_left_to_the_careful_way(name: str) -> None:
    data, out = unlike()[name], np.empty((64, 64, 3), np.uint8)
    assert not fast.decode_into(data, out)
    try:
        wanted = resize_square(np.asarray(images.decode(data)), 64)
    except SampleError:
        for read in (images.read_square, images.decode_array):
            with pytest.raises(SampleError):
                read(data, 64)
    else:
        assert (images.decode_array(data, 64) == wanted).all()
        assert (images.read_square(data, 64)[0] == wanted).all()


def test_reading_a_square_tells_the_upright_size_of_the_original() -> None:
    exif = Image.Exif()
    for orientation, size in ((1, (90, 60)), (3, (90, 60)), (6, (60, 90))):
        exif[0x0112] = orientation
        for data in (file_of(photo(90, 60), "JPEG", exif=exif), file_of(photo(90, 60), exif=exif)):
            careful = np.asarray(images.decode(data))
            pixels, own = images.read_square(data, 40)
            assert own == size and (pixels == resize_square(careful, 40)).all()
            for shrink in (False, True):
                pixels, own = images.read_square(data, 20, shrink=shrink)
                assert own == size and pixels.shape == (20, 20, 3)
                off = abs(pixels.astype(int) - resize_square(careful, 20))
                assert off.mean() < (12 if shrink else 1.5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_squares_that_were_read_do_not_change_when_others_are_read(kind: str) -> None:
    for side in (64, 100, 128):  # as they are; resized; halved
        first = images.read_square(file_of(photo(side, side), kind), 64)[0]
        kept = first.copy()
        images.read_square(file_of(Image.new("RGB", (200, 200), BLUE), kind), 64)
        assert (first == kept).all()


def test_halving_and_bicubic_stay_near_a_careful_filter() -> None:
    for side in (300, 256, 200, 100, 70):
        image = photo(side, side)
        careful = np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS)).astype(float)
        error = np.mean((resize_square(np.array(image), 64) - careful) ** 2)
        assert 10 * np.log10(255**2 / error) > 35  # dB


def test_rough_and_shrinking_decoding_keep_the_picture() -> None:
    data = file_of(photo(512, 512), "JPEG", quality=95)
    careful = resize_square(np.asarray(images.decode(data)), 64)
    for shrink, most in ((False, 0.5), (True, 2)):
        small, own = images.read_square(data, 64, shrink=shrink)
        assert own == (512, 512) and abs(small.astype(int) - careful).mean() < most


@pytest.mark.parametrize(("format", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_encode(format: str, kind: str) -> None:
    pixels = np.array(two_colours(32, 32))
    data = images.encode(pixels, format=format)
    assert data == images.encode(pixels.copy(), format=format)
    assert Image.open(io.BytesIO(data)).format == kind
    # full chroma: the red-blue edge stays where it is
    assert abs(images.decode_array(data, 32).astype(int) - pixels)[:, :12].max() < 12


def test_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="gif"):
        images.encode(np.zeros((8, 8, 3), np.uint8), format="gif")

"""Small valid images of every kind, and bombs: small files that ask for much memory or time."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@cache
def seeds() -> tuple[bytes, ...]:
    """Valid files, some of them of kinds that are refused."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    rgb, rgba = Image.fromarray(noise[..., :3].copy()), Image.fromarray(noise)
    grey, cmyk = rgb.convert("L"), rgb.convert("CMYK")
    palette = rgb.quantize(16)
    wide = rgb.resize((40, 23))
    exif = Image.Exif()
    exif[0x0112] = 6
    return (
        file_of(rgb, "JPEG", quality=80),
        file_of(rgb, "JPEG", quality=80, subsampling=0),
        file_of(rgb, "JPEG", progressive=True),
        file_of(rgb, "JPEG", restart_marker_blocks=1),
        file_of(wide, "JPEG", quality=90),
        file_of(wide, "JPEG", exif=exif),
        file_of(grey, "JPEG"),
        file_of(cmyk, "JPEG"),
        file_of(rgb, "PNG"),
        file_of(rgba, "PNG"),
        file_of(grey, "PNG"),
        file_of(wide, "PNG"),
        file_of(palette, "PNG", transparency=3),
        file_of(rgb.convert("1"), "PNG"),
        file_of(Image.fromarray(noise[..., 0].astype(np.uint16) << 8), "PNG"),
        file_of(rgb, "PNG", exif=exif, icc_profile=b"profile" * 20),
        file_of(rgb, "WEBP", quality=80),
        file_of(wide, "WEBP", quality=80),
        file_of(rgb, "WEBP", lossless=True),
        file_of(rgba, "WEBP"),
        file_of(rgba, "WEBP", lossless=True, exif=exif),
        file_of(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)]),
        file_of(palette, "GIF"),
        file_of(rgb, "TIFF"),
        file_of(rgb, "BMP"),
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, its CRC right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of just these chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WEBP of just these chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def canvas(width: int, height: int, flags: int) -> tuple[bytes, bytes]:
    """What announces an extended WEBP's size."""
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def scans(count: int, *, side: int) -> bytes:
    """A progressive JPEG of nothing but ``count`` refinements of an empty image."""
    rows = struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00"
    parts = [b"\xff\xd8", _segment(0xDB, b"\0" + b"\1" * 64), _segment(0xC2, rows)]
    # one code, 0, of the symbol E0: 2**14 and more blocks in which nothing changes
    parts.append(_segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0"))
    parts.append(_segment(0xC4, b"\x00\x01" + bytes(15) + b"\x00"))
    blocks = (side // 8) ** 2
    runs = -(-blocks // ((1 << 15) - 1))
    bits = "".join("0" + "1" * 14 for _ in range(runs))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    scan = _segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + data
    first = _segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8))
    return b"".join([*parts, first, *[scan] * count, b"\xff\xd9"])


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@cache
def bombs() -> dict[str, bytes]:
    """Name -> a file that should be refused, or read in bounded time and memory."""
    zeros = zlib.compress(bytes(1 << 26), 9)  # 64 KiB that become 64 MiB
    row = zlib.compress(bytes(SIDE * (3 * SIDE + 1)))
    plain = chunk(b"IDAT", row)
    jpeg = bytearray(seeds()[0])
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    progressive = bytearray(seeds()[2])
    place = progressive.index(b"\xff\xc2")
    progressive[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    sides = struct.pack("<I", 0)[:3] * 2 + struct.pack("<I", SIDE - 1)[:3] * 2
    moving = (b"ANIM", bytes(6)), (b"ANMF", sides + bytes(4) + seeds()[16][12:])
    circle = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    pictures = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\xff\xff\xff\x7f"
    rest = seeds()[0][2:]
    bomb = chunk(b"zTXt", b"x\0\0" + zeros)
    return {
        "png of 65,535 x 65,535": png(65535, 65535, plain),
        "png of 2**31 x 1": png((1 << 31) - 1, 1, plain),
        "png of 0 x 0": png(0, 0, plain),
        "png of 8,193 x 8,192": png(8193, 8192, chunk(b"IDAT", zeros)),
        "png with more pixels than it says": png(SIDE, SIDE, chunk(b"IDAT", zeros)),
        "png with an iCCP bomb": png(SIDE, SIDE, chunk(b"iCCP", b"x\0\0" + zeros), plain),
        "png with a zTXt bomb": png(SIDE, SIDE, bomb, plain),
        "png with many zTXt bombs": png(SIDE, SIDE, *[bomb] * 64, plain),
        "png with an iTXt bomb": png(SIDE, SIDE, chunk(b"iTXt", b"x\0\1\0\0\0" + zeros), plain),
        "png with a bomb behind its image": png(SIDE, SIDE, plain, bomb),
        "png with 100,000 chunks": png(SIDE, SIDE, *[chunk(b"tEXt", b"x\0y")] * 100_000, plain),
        "png with 100,000 empty chunks": png(SIDE, SIDE, *[chunk(b"IDAT", b"")] * 100_000, plain),
        "apng of many frames": png(
            SIDE, SIDE, chunk(b"acTL", struct.pack(">II", 1 << 30, 0)), plain
        ),
        "jpeg of 65,535 x 65,535": bytes(jpeg),
        "progressive jpeg of 65,535 x 65,535": bytes(progressive),
        "jpeg of 20,000 scans": scans(20_000, side=SIDE),
        "jpeg of 20,000 scans, 1,024 x 1,024": scans(20_000, side=1024),
        "jpeg of 1,000 scans, 8,192 x 8,192": scans(1_000, side=8192),
        "jpeg of markers": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 250_000,
        "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * 1_000_000,
        "webp of 16,383 x 16,383": riff(
            (b"VP8 ", bytes([0x10, 0, 0]) + b"\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(20))
        ),
        "webp of 16,384 x 16,384, lossless": riff(
            (b"VP8L", b"\x2f" + struct.pack("<I", 0x0FFFFFFF) + bytes(20))
        ),
        "webp canvas of 65,535 x 65,535": riff(canvas(65535, 65535, 2), *moving),
        "webp canvas of 16,384 x 16,384": riff(canvas(16384, 16384, 2), *moving),
        "webp canvas of 2**24 x 200": riff(canvas(1 << 24, 200, 2), *moving),
        "webp of 50,000 frames": riff(canvas(SIDE, SIDE, 2), moving[0], *[moving[1]] * 50_000),
        "gif of 65,535 x 65,535": b"GIF89a\xff\xff\xff\xff\x00\x00\x00;",
        "jpeg in a png": png(SIDE, SIDE, chunk(b"IDAT", seeds()[0])),
        "png in a jpeg": b"\xff\xd8" + _segment(0xE1, b"Exif\0\0" + png(65535, 65535)),
        "tiff in exif, in circles": b"\xff\xd8" + _segment(0xE1, circle) + rest,
        "mpo of many pictures": b"\xff\xd8" + _segment(0xE2, pictures) + rest,
    }

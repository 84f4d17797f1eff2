"""What one writes with the libraries' own parts: what ours is measured against."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor


def stock_batches(shards: Sequence[Path], *, suffix: str, batch: int) -> Iterator[Tensor]:
    """Yield float batches N C H W without end: webdataset's pipeline, torchvision's transform."""
    import webdataset
    from torchvision import transforms

    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    )
    urls = [str(path) for path in shards]
    pipeline = (
        webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
        .repeat()
        .shuffle(1000)
        .decode("pil")
        .to_tuple(suffix, "cls")
        .map(lambda sample: (transform(sample[0].convert("RGB")), sample[1]))
        .batched(batch)
    )
    for images, _ in pipeline:
        yield images


def stock_shards(files: Sequence[Path], out: Path, *, size: int, quality: int) -> None:
    """Write image files as one shard: Pillow's LANCZOS and encoder into webdataset's writer."""
    import webdataset
    from PIL import Image

    with webdataset.TarWriter(str(out)) as writer:
        for number, file in enumerate(files):
            image = Image.open(file).convert("RGB")
            width, height = image.size
            image = image.resize((size, size), Image.Resampling.LANCZOS)
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality, subsampling=0)
            info = {"origin": str(file), "size": [width, height]}
            writer.write(
                {
                    "__key__": f"{number:09d}",
                    "jpg": stream.getvalue(),
                    "cls": b"0",
                    "json": json.dumps(info).encode(),
                }
            )

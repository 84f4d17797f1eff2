"""Foreign weight files: local, known by their SHA-256, and read as tensors alone.

Nothing here ever downloads. What is missing ends in one sentence with the command that fetches it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from srae_dist.core.errors import UserError


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A published weight file."""

    title: str  # "Inception weights of FID"
    name: str  # what it is saved as
    fetch: str  # the command that fetches it
    sha256: str


INCEPTION = KnownFile(
    "the Inception weights of FID (the TensorFlow network of 2015, as torch-fidelity packs them)",
    "weights-inception-2015-12-05-6726825d.pth",
    "curl -L -o weights-inception-2015-12-05-6726825d.pth "
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
ALEXNET = KnownFile(
    "the AlexNet weights below LPIPS (torchvision's)",
    "alexnet-owt-7be5be79.pth",
    'python -c "import torch, torchvision; torch.hub.download_url_to_file('
    "torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url, 'alexnet-owt-7be5be79.pth')\"",
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)


def read_known(path: Path | None, known: KnownFile, *, option: str) -> bytes:
    """Return the bytes of a known file, its digest checked.

    Args:
        path: the local file; None if the user named none.
        option: how the user names it: "--inception".

    Raises:
        UserError: it is not there, cannot be read, or is another file.
    """
    if path is None or not path.is_file():
        missing = "No file is named" if path is None else f"{path} does not exist"
        raise UserError(
            f"{option}: {missing}; it takes {known.title}. Fetch them with `{known.fetch}` and "
            f"name the file with {option} FILE."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{option}: {path} cannot be read: {error.strerror}.") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != known.sha256:
        raise UserError(
            f"{option}: {path} is not {known.title}, whose "
            f"SHA-256 is {known.sha256}; fetch them with `{known.fetch}`."
        )
    return data


def require(package: str, *, option: str, installs: str) -> None:
    """Hold that an optional package is installed, without importing it.

    Raises:
        UserError: it is not.
    """
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UserError(
            f"{option} needs the package {installs}; install it with `pip install {installs}`."
        )

"""Split Representation Auto-Encoder: one encoder-decoder for any number of image domains.

    import srae_dist
    model = srae_dist.load("runs/quickstart")
    anime = model.translate(image, to="anime")

Importing the package is light: torch is imported when ``load`` is first called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import SraeError, UserError

if TYPE_CHECKING:
    from srae_dist.translation.translator import Translator, load

__version__ = "0.1.0"
__all__ = ["SraeError", "Translator", "UserError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("load", "Translator"):
        from srae_dist.translation import translator

        return getattr(translator, name)
    raise AttributeError(f"module 'srae_dist' has no attribute '{name}'")

"""What is measured: a trained model, its shards' images, and what several measures need of both.

Reconstructions, translations and feature networks are made when first asked for, and once.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from srae_dist.evaluate.options import Options
    from srae_dist.evaluation.answers import Answers
    from srae_dist.evaluation.counterparts import Counterparts
    from srae_dist.evaluation.encoded import Encoded
    from srae_dist.evaluation.features import VggFeatures
    from srae_dist.recipe.schema import Perceptual
    from srae_dist.translation.translator import Translator

    Pixels = NDArray[np.uint8]  # N H W 3
    Floats = NDArray[np.float32]


class Subject:
    """A model and its encoded images, of a split to learn from and one to be scored on."""

    def __init__(
        self,
        options: Options,
        translator: Translator,
        *,
        train: Encoded,
        test: Encoded,
        run: Path | None,
        perceptual: Perceptual,
    ) -> None:
        """``run``: the run folder, if there is one; ``perceptual``: the VGG to measure with."""
        self.options, self.translator, self.run = options, translator, run
        self.perceptual = perceptual
        self.train, self.test = train, test

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the model's order."""
        return self.translator.domains

    @property
    def mean_codes(self) -> Floats:
        """The domains' mean codes, m x j."""
        codes: Floats = self.translator.mean_codes.float().cpu().numpy()
        return codes

    @cached_property
    def train_of(self) -> list[Encoded]:
        """Images to learn from, by domain."""
        return [self.train.of(domain) for domain in range(len(self.domains))]

    @cached_property
    def test_of(self) -> list[Encoded]:
        """Images to be scored, by domain."""
        return [self.test.of(domain) for domain in range(len(self.domains))]

    def encode(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Encode a batch: pixels n H W 3 to means of content codes n k a b and domain codes n j."""
        codes = self.translator.encode(pixels)
        content, domain = (code.mean.float().cpu() for code in (codes.content, codes.domain))
        return content.contiguous().numpy(), domain.contiguous().numpy()

    def decode(self, content: Floats, domain_code: Floats) -> Pixels:
        """Decode a batch: content codes n k a b and domain codes n j to pixels n H W 3."""
        import numpy as np
        import torch

        from srae_dist.model.pixels import to_uint8

        own = (np.require(codes, requirements=["C", "W"]) for codes in (content, domain_code))
        z_c, z_d = map(torch.from_numpy, own)
        return to_uint8(self.translator.decode(z_c, z_d))

    @cached_property
    def reconstructed(self) -> list[Pixels]:
        """Test images decoded from their own codes, by domain."""
        from srae_dist.evaluation.codec import decode_all

        return [
            decode_all(self.decode, images.content, images.domain_code) for images in self.test_of
        ]

    @cached_property
    def translated(self) -> Mapping[tuple[int, int], Pixels]:
        """Test images of domain s with the mean code of domain t, by (s, t)."""
        from srae_dist.evaluation.codec import decode_all

        return {
            (s, t): decode_all(self.decode, self.test_of[s].content, self.mean_codes[t])
            for s, t in itertools.permutations(range(len(self.domains)), 2)
        }

    @cached_property
    def answers(self) -> Answers:
        """All that judges are shown of the test images."""
        from srae_dist.evaluation.answers import Answers, by_reference

        referred = by_reference(self.train, self.test, decode=self.decode)
        return Answers(self.reconstructed, self.translated, referred)

    @cached_property
    def counterparts(self) -> list[Counterparts]:
        """Built-in faces beside their true counterparts.

        Raises:
            UserError: their factors do not draw these images.
        """
        from srae_dist.evaluation.counterparts import counterparts

        return counterparts(
            self.test, encode=self.encode, decode=self.decode, mean_codes=self.mean_codes
        )

    @property
    def in_training(self) -> dict[str, float]:
        """The discriminators' accuracy in training, by the run's log, where there is one."""
        from srae_dist.evaluation.in_training import read_in_training

        if self.run is None:
            return {}
        return read_in_training(self.run / "log.jsonl", step=self.translator.step)

    @property
    def label(self) -> str | None:
        """The content label that most images have, if there is one."""
        known = {
            name: int((values != "").sum())
            for name, values in self.test.labels.items()
            if name in self.train.labels and (values != "").any()
        }
        return max(sorted(known), key=lambda name: known[name], default=None)

    @cached_property
    def vgg(self) -> VggFeatures:
        """Our VGG-16.

        Raises:
            UserError: its weights are not here.
        """
        from srae_dist.evaluation.features import VggFeatures

        return VggFeatures(self.perceptual.weights, device=self.translator.device)


def perceptual_of(recipe: Mapping[str, Any], *, run: Path | None, vgg: str | None) -> Perceptual:
    """Return the recipe's perceptual network, its weights those named, else the run's own.

    Args:
        recipe: as it is in the checkpoint, which says no path.
        run: the run folder, if there is one: its ``recipe.toml`` knows where the weights lie.
    """
    from pydantic import ValidationError

    from srae_dist.recipe.load import load_recipe
    from srae_dist.recipe.schema import Perceptual

    if run is not None and (run / "recipe.toml").is_file():
        found = load_recipe(run / "recipe.toml").recipe.perceptual
    else:
        try:
            found = Perceptual.model_validate(recipe.get("perceptual", {}))
        except ValidationError:
            raise UserError(
                "The recipe in the checkpoint's header is damaged: its section perceptual is none; "
                "use another checkpoint."
            ) from None
    return found if vgg is None else found.model_copy(update={"weights": vgg})

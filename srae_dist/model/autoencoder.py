"""The SRAE: ONE encoder-decoder for any number of domains."""

from __future__ import annotations

from einops import repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from srae_dist.core.types import Codes
from srae_dist.model.decoder import Decoder
from srae_dist.model.encoder import ContentStream, DomainStream, Trunk
from srae_dist.model.vgg import PerceptualNetwork


class AutoEncoder(nn.Module):
    """Trunk, content stream, domain stream and decoder; images are N 3 H W floats in [-1, 1]."""

    def __init__(
        self,
        *,
        image_size: int,  # H = W, pixels
        code_size: int,  # a = b
        content_channels: int,  # k
        domain_channels: int,  # j
        width: int,  # channels at full resolution
        max_width: int,  # upper bound of the channels
        blocks: int,  # residual blocks per resolution
        content_levels: int = 0,  # mu_c takes one of so many values in [-1, 1]; 0: any, unbounded
        eyes: PerceptualNetwork | None = None,  # f_d sees the last layer of these, not the trunk's
        modulate: bool = False,  # z_d scales and shifts the decoder's features as well
        checkpoint_activations: bool = False,  # recompute trunk and decoder in the backward pass
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.code_size = code_size
        self.checkpoint_activations = checkpoint_activations
        self.trunk = Trunk(
            image_size=image_size,
            code_size=code_size,
            width=width,
            max_width=max_width,
            blocks=blocks,
        )
        self.content = ContentStream(
            self.trunk.out_channels, content_channels, levels=content_levels
        )
        self.eyes = eyes
        seen = self.trunk.out_channels if eyes is None else eyes.shapes(image_size)[-1][0]
        self.domain = DomainStream(seen, domain_channels, deep=eyes is not None)
        self.decoder = Decoder(
            image_size=image_size,
            code_size=code_size,
            width=width,
            max_width=max_width,
            blocks=blocks,
            content_channels=content_channels,
            domain_channels=domain_channels,
            modulate=modulate,
        )

    def features(self, x: Tensor) -> Tensor:
        """Run the trunk: N 3 H W to N C a b."""
        if self.checkpoint_activations and self.training:
            return checkpoint(self.trunk, x, use_reentrant=False)  # type: ignore[no-any-return]
        return self.trunk(x)  # type: ignore[no-any-return]

    def encode(self, x: Tensor) -> Codes:
        """Images N 3 H W to code distributions."""
        h = self.features(x)
        return Codes(self.content(h), self.domain(self.seen_by_domain(x, h)))

    def seen_by_domain(self, x: Tensor, h: Tensor) -> Tensor:
        """What f_d gets of images N 3 H W and the trunk's features of them: those, or its eyes'."""
        return h if self.eyes is None else self.eyes(x)[-1]

    def decode(self, content: Tensor, domain: Tensor) -> Tensor:
        """Content codes N k a b and domain codes N j (or maps N j a b) to images N 3 H W."""
        if domain.ndim == 2:
            domain = self.broadcast(domain)
        if self.checkpoint_activations and self.training:
            return checkpoint(self.decoder, content, domain, use_reentrant=False)  # type: ignore[no-any-return]
        return self.decoder(content, domain)  # type: ignore[no-any-return]

    def broadcast(self, domain: Tensor) -> Tensor:
        """Upscale 1 x 1 x j domain codes (N j) to maps N j a b."""
        return repeat(domain, "n j -> n j a b", a=self.code_size, b=self.code_size)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct images from their mean codes."""
        codes = self.encode(x)
        return self.decode(codes.content.mean, codes.domain.mean)

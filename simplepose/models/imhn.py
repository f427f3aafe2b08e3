"""IMHN, the identity-mapping hourglass network (arXiv:1911.10529)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.config import Model
from simplepose.models.encoders import MobileNetV2
from simplepose.models.hourglass import SCALES, Hourglass
from simplepose.models.layers import ConvBlock, Residual, SqueezeExcitation
from simplepose.skeleton import COCO


class Stem(nn.Module):
    """Picture -> features at stride 4: (N, 3, H, W) -> (N, width, H / 4, W / 4)."""

    def __init__(self, stem_width: int, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        half = width // 2
        self.conv = ConvBlock(3, stem_width, 7, stride=2)
        self.residual1 = Residual(stem_width, half)
        self.residual2 = Residual(half, half)
        self.dilated = nn.Sequential(*(ConvBlock(half, half, 3, dilation=dilation) for dilation in dilations))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Run the stem; the hourglass makes all coarser features itself."""
        x = self.residual2(functional.max_pool2d(self.residual1(self.conv(images)), 2))
        return [torch.cat([x, self.dilated(x)], 1)]


class EncoderStem(nn.Module):
    """Image -> a pretrained encoder's features at strides 4 to 32, brought to the hourglass's widths."""

    def __init__(self, encoder: MobileNetV2, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.laterals = nn.ModuleList(
            ConvBlock(inputs, width, 1) for inputs, width in zip(encoder.channels, widths, strict=False)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> (N, widths[j], H / s, W / s) at strides s = 4, 8, 16, 32."""
        features = self.encoder(images)
        return [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]


class Head(nn.Module):
    """One scale's features -> (feature (N, head_width, h, w), maps (N, channels, h, w))."""

    def __init__(self, width: int, head_width: int, reduction: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBlock(width, head_width, 3)
        self.conv2 = ConvBlock(head_width, head_width, 3)
        self.squeeze = SqueezeExcitation(head_width, head_width // reduction)
        self.maps = nn.Conv2d(head_width, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the head."""
        feature = self.squeeze(self.conv2(self.conv1(x)))
        return feature, self.maps(feature)


class Merge(nn.Module):
    """What a stack found at one scale, brought to the hourglass's width for the next stack."""

    def __init__(self, channels: int, head_width: int, width: int) -> None:
        super().__init__()
        self.maps = ConvBlock(channels, width, 1, activate=False)
        self.features = ConvBlock(head_width, width, 1, activate=False)

    def forward(self, feature: Tensor, maps: Tensor) -> Tensor:
        """(N, head_width, h, w), (N, channels, h, w) -> (N, width, h, w)."""
        return self.maps(maps) + self.features(feature)


class IMHN(nn.Module):
    """Stacked hourglasses with identity mappings between the same scales of neighbouring stacks.

    Args:
        channels: maps at each scale; the COCO skeleton has 50.
        stacks, stem_width, width, growth, head_width, reduction, dilations, scales: see `config.Model`.
        encoder, encoder_multiplier: likewise.
    """

    def __init__(
        self,
        stacks: int = 4,
        stem_width: int = 64,
        width: int = 256,
        growth: int = 128,
        head_width: int = 256,
        reduction: int = 16,
        dilations: tuple[int, ...] = (3, 3, 4, 4, 5, 5),
        channels: int = COCO.channels,
        scales: int = SCALES,
        encoder: str = "hourglass",
        encoder_multiplier: float = 1.5,
    ) -> None:
        super().__init__()
        widths = tuple(width + growth * scale for scale in range(SCALES))
        self.stem: Stem | EncoderStem
        if encoder == "hourglass":
            self.stem, encoded = Stem(stem_width, width, dilations), 1
        else:
            self.stem = EncoderStem(MobileNetV2(encoder_multiplier), widths)
            encoded = len(self.stem.laterals)
        self.hourglasses = nn.ModuleList(
            Hourglass(widths, 1 if stack else encoded) for stack in range(stacks)
        )
        self.heads = nn.ModuleList(
            nn.ModuleList(Head(w, head_width, reduction, channels) for w in widths[:scales])
            for _ in range(stacks)
        )
        self.merges = nn.ModuleList(
            nn.ModuleList(Merge(channels, head_width, w) for w in widths[:scales]) for _ in range(stacks - 1)
        )
        if next(self.parameters()).is_meta:
            return  # without values; torch would import its compiler to draw none
        self.apply(_initialise)
        if isinstance(self.stem, EncoderStem):
            self.stem.encoder.reset_parameters()

    @classmethod
    def from_settings(cls, settings: Model, channels: int) -> IMHN:
        """The network that `settings` describe."""
        return cls(
            settings.stacks,
            settings.stem_width,
            settings.width,
            settings.growth,
            settings.head_width,
            settings.reduction,
            settings.dilations,
            channels,
            settings.scales,
            settings.encoder,
            settings.encoder_multiplier,
        )

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Find limbs and keypoints.

        Args:
            images: (N, 3, H, W) float BGR in [0, 1]; H and W multiples of 32, at least 64.

        Returns:
            For each stack maps (N, C, H / s, W / s), rounded up, at strides s = 4, 8, 16, 32, 64, or the
            first `scales` of them.
        """
        encoded = self.stem(images)
        caches: list[Tensor] = []
        outputs = []
        for stack, hourglass in enumerate(self.hourglasses):
            scales = cast(nn.ModuleList, self.heads[stack])
            features = hourglass(encoded)[: len(scales)]
            if caches:
                features = [f + cache for f, cache in zip(features, caches, strict=True)]
            heads = [head(f) for head, f in zip(scales, features, strict=True)]
            outputs.append([maps for _, maps in heads])
            if stack < len(self.merges):
                caches = [
                    merge(*found)
                    for merge, found in zip(cast(nn.ModuleList, self.merges[stack]), heads, strict=True)
                ]
                encoded = [encoded[0] + caches[0]]
        return outputs


def _initialise(module: nn.Module) -> None:
    """The published initialisation; batch norms keep torch's 1 and 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0, 0.001 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

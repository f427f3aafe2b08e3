"""IMHN, the identity-mapping hourglass network (arXiv:1911.10529)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.config import ModelSettings
from simplepose.models.encoders import MobileNetV2
from simplepose.models.layers import ConvBlock, Residual, SqueezeExcitation, run_checkpointed
from simplepose.skeleton import COCO

DEPTH = 4
"""Number of times that an hourglass halves the resolution."""

SCALES = DEPTH + 1
"""Number of supervised resolutions: strides 4, 8, 16, 32 and 64."""


def crop_like(x: Tensor, like: Tensor) -> Tensor:
    """Crop (N, C, H, W) at the bottom and right to the size of `like`, (N, C', h, w)."""
    return x[..., : like.shape[2], : like.shape[3]]


class Level(nn.Module):
    """The layers of one depth of an hourglass."""

    def __init__(self, width: int, width_below: int, innermost: bool, encoded: bool) -> None:
        super().__init__()
        self.up = Residual(width, width)
        self.down = None if encoded else Residual(width, width_below)
        self.back = Residual(width_below, width)
        self.merge = ConvBlock(width, width, 3)
        self.innermost = Residual(width_below, width_below) if innermost else None


class Hourglass(nn.Module):
    """Computes features down to stride 64 and back up to stride 4.

    Args:
        widths: channels at strides 4 to 64.
        encoded: number of scales, from stride 4 on, whose features come from the stem; the hourglass computes
            the features of the other scales on the way down.
    """

    def __init__(self, widths: tuple[int, ...], encoded: int = 1) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.levels = nn.ModuleList(
            Level(w, below, depth == DEPTH - 1, depth + 1 < encoded) for depth, (w, below) in enumerate(pairs)
        )

    def forward(self, encoded: Sequence[Tensor]) -> list[Tensor]:
        """Compute the features of all scales. An odd size at stride 32 is rounded up at stride 64.

        Args:
            encoded: the stem's features, (N, widths[j], H / 2^j, W / 2^j) for j = 0, ...

        Returns:
            Features of the same shapes for j = 0..4, finest first.
        """
        return self._compute_levels(encoded[0], encoded[1:], 0)

    def _compute_levels(self, x: Tensor, encoded: Sequence[Tensor], depth: int) -> list[Tensor]:
        level = cast(Level, self.levels[depth])
        low = encoded[0] if level.down is None else level.down(functional.max_pool2d(x, 2, ceil_mode=True))
        if level.innermost is not None:
            below = [level.innermost(low)]
        else:
            below = self._compute_levels(low, encoded[1:], depth + 1)
        upsampled = functional.interpolate(level.back(below[0]), scale_factor=2.0, mode="nearest")
        return [level.up(x) + level.merge(crop_like(upsampled, x)), *below]


class Stem(nn.Module):
    """Image -> features at stride 4: (N, 3, H, W) -> (N, width, H / 4, W / 4)."""

    def __init__(self, stem_width: int, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        half = width // 2
        self.conv = ConvBlock(3, stem_width, 7, stride=2)
        self.residual1 = Residual(stem_width, half)
        self.residual2 = Residual(half, half)
        self.dilated = nn.Sequential(*(ConvBlock(half, half, 3, dilation=dilation) for dilation in dilations))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the features at stride 4, as a list of one; the hourglass computes all coarser features."""
        x = self.residual2(functional.max_pool2d(self.residual1(self.conv(images)), 2))
        return [torch.cat([x, self.dilated(x)], 1)]


class EncoderStem(nn.Module):
    """Image -> a pretrained encoder's features at strides 4 to 32, projected to the hourglass's widths."""

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
        """Return the feature map and the output maps, both of the input's height and width."""
        feature = self.squeeze(self.conv2(self.conv1(x)))
        return feature, self.maps(feature)


class Merge(nn.Module):
    """Projects a stack's outputs at one scale to the hourglass's width, as input of the next stack."""

    def __init__(self, channels: int, head_width: int, width: int) -> None:
        super().__init__()
        self.maps = ConvBlock(channels, width, 1, activate=False)
        self.features = ConvBlock(head_width, width, 1, activate=False)

    def forward(self, feature: Tensor, maps: Tensor) -> Tensor:
        """(N, head_width, h, w), (N, channels, h, w) -> (N, width, h, w)."""
        merged: Tensor = self.maps(maps) + self.features(feature)
        return merged


class IMHN(nn.Module):
    """Stacked hourglasses with identity mappings between the same scales of neighboring stacks.

    Args:
        channels: number of maps at each scale; 50 for the COCO skeleton.
        stacks, stem_width, width, growth, head_width, reduction, dilations: see `config.ModelSettings`.
        scales, encoder, encoder_multiplier: see `config.ModelSettings`.

    Attributes:
        stacks: number of stacks.
        activation_checkpointing: whether the stem, each hourglass and each head store only their inputs until
            the backward pass, which then takes longer; False at first.
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
        self.stacks = stacks
        self.activation_checkpointing = False
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
            return  # meta tensors have no values; to initialize them, torch would import its compiler
        self.apply(_initialize)
        if isinstance(self.stem, EncoderStem):
            self.stem.encoder.reset_parameters()

    @classmethod
    def from_settings(cls, settings: ModelSettings, channels: int) -> IMHN:
        """Build the network from its settings."""
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
        """Compute limb maps and heatmaps.

        Args:
            images: (N, 3, H, W) float BGR in [0, 1]; H and W multiples of 32, at least 64.

        Returns:
            For each stack the maps (N, C, H / s, W / s), sizes rounded up, at the first `scales` of the
            strides s = 4, 8, 16, 32, 64.
        """
        encoded = self._run(self.stem, images)
        caches: list[Tensor] = []
        outputs = []
        for stack, hourglass in enumerate(self.hourglasses):
            scales = cast(nn.ModuleList, self.heads[stack])
            features = self._run(hourglass, encoded)[: len(scales)]
            if caches:
                features = [f + cache for f, cache in zip(features, caches, strict=True)]
            heads = [self._run(head, f) for head, f in zip(scales, features, strict=True)]
            outputs.append([maps for _, maps in heads])
            if stack < len(self.merges):
                caches = [
                    merge(*head_outputs)
                    for merge, head_outputs in zip(
                        cast(nn.ModuleList, self.merges[stack]), heads, strict=True
                    )
                ]
                encoded = [encoded[0] + caches[0]]
        return outputs

    def _run(self, part: nn.Module, inputs: Any) -> Any:
        """Run the stem, an hourglass or a head."""
        return run_checkpointed(part, inputs) if self.activation_checkpointing else part(inputs)


def _initialize(module: nn.Module) -> None:
    """Initialize a layer as the published code does; batch norms keep torch's 1 and 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0, 0.001 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

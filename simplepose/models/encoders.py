"""Pretrained encoders: an image -> features at strides 4 to 32, or at stride 32 only.

`MobileNetV2` (arXiv:1801.04381) with a feature pyramid, as in MoveNet MultiPose. Batch norms are folded into
the convolutions, as in MoveNet's released weights. `SEResNet` (arXiv:1512.03385) with squeeze-and-excitation,
as in AlphaPose's FastPose.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.models.layers import ConvBlock, SqueezeExcitation

EXPANSION = 6
"""Channels inside an inverted residual block, as a multiple of its input channels."""

BLOCKS = (
    *((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1)),
    *((160, 3, 2), (320, 1, 1)),
)
"""MobileNetV2's groups of blocks: channels before the multiplier, number of blocks, stride of the first."""

STEM_CHANNELS = 32
LAST_CHANNELS = 1280
"""Channels after the first convolution, before the multiplier, and after the last, for any multiplier."""

PYRAMID_BLOCKS = (2, 5, 9)
"""The pyramid's input blocks at strides 4, 8 and 16; at stride 32 its input is the last convolution."""

SKIP_BLOCKS = (2, 5, 12)
"""The last blocks of strides 4, 8 and 16."""

NUM_FINE_BLOCKS = SKIP_BLOCKS[-1] + 1
"""Number of blocks down to stride 16; the others are at stride 32."""

LATERAL_CHANNELS = (24, 32, 64, 64)
SMOOTH_CHANNELS = (24, 24, 32)
"""Channels of the pyramid's 1x1 convolutions (strides 4, 8, 16, 32) and features (strides 4, 8, 16)."""


class SamePaddingConv2d(nn.Conv2d):
    """3x3 or 1x1 convolution with bias and TensorFlow's SAME padding: at stride 2 only right and bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, depthwise: bool = False):
        padding = 0 if stride == 2 else kernel // 2
        super().__init__(
            inputs, outputs, kernel, stride, padding, groups=inputs if depthwise else 1, bias=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride); H and W even at stride 2."""
        return super().forward(functional.pad(x, (0, 1, 0, 1)) if self.stride[0] == 2 else x)


HEAD_CHANNELS = (96, 96)
"""Channels of the hidden layers, at stride 4, of two MoveNet heads: the keypoint heatmaps, and the regression
from a person's center to the keypoints."""


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection, and a shortcut if input and output shapes are equal."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SamePaddingConv2d(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SamePaddingConv2d(hidden, hidden, 3, stride, depthwise=True)
        self.project = SamePaddingConv2d(hidden, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        hidden = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        out: Tensor = self.project(functional.relu6(self.depthwise(hidden), inplace=True))
        return out + x if self.shortcut else out


class SeparableConv(nn.Module):
    """3x3 depthwise convolution without bias, 1x1 convolution, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return functional.relu_(self.pointwise(self.depthwise(x)))


class MobileNetV2(nn.Module):
    """MobileNetV2 and a feature pyramid up to stride 4.

    Args:
        multiplier: width multiplier; channels are rounded to multiples of 8.
        coarse_expansion: expansion of the blocks at stride 32, which have most of the parameters.

    Attributes:
        channels: number of channels of the features at strides 4, 8, 16 and 32.
        input_range: value of a white pixel.
        multiplier: see Args.
    """

    def __init__(self, multiplier: float = 1.5, coarse_expansion: int = EXPANSION) -> None:
        super().__init__()
        self.input_range, self.multiplier = 1.0, multiplier
        width = make_divisible(STEM_CHANNELS * multiplier)
        self.conv = SamePaddingConv2d(3, width, 3, stride=2)
        blocks: list[InvertedResidual] = []
        for channels, count, stride in BLOCKS:
            outputs = make_divisible(channels * multiplier)
            for number in range(count):
                expansion = coarse_expansion if len(blocks) >= NUM_FINE_BLOCKS else EXPANSION
                blocks.append(
                    InvertedResidual(width, outputs, 1 if number else stride, expansion if blocks else 1)
                )
                width = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last = SamePaddingConv2d(width, LAST_CHANNELS, 1)
        pyramid_inputs = [blocks[block].project.out_channels for block in PYRAMID_BLOCKS] + [LAST_CHANNELS]
        self.laterals = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1)
            for inputs, outputs in zip(pyramid_inputs, LATERAL_CHANNELS, strict=True)
        )
        self.smooth = nn.ModuleList(
            SeparableConv(inputs, outputs)
            for inputs, outputs in zip(LATERAL_CHANNELS[:3], SMOOTH_CHANNELS, strict=True)
        )
        self.heads = nn.ModuleList(SeparableConv(SMOOTH_CHANNELS[0], outputs) for outputs in HEAD_CHANNELS)
        skips = [blocks[block].project.out_channels for block in SKIP_BLOCKS]
        self.channels = [
            *(skip + smooth for skip, smooth in zip(skips, SMOOTH_CHANNELS, strict=True)),
            LAST_CHANNELS,
        ]
        self.channels[0] += sum(HEAD_CHANNELS)

    def reset_parameters(self) -> None:
        """Initialize random weights that keep the features' scale through the layers."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute features, finest first.

        Args:
            images: (N, 3, H, W) BGR in [0, input_range]; H and W multiples of 32.

        Returns:
            Features (N, channels[i], H / s, W / s) at strides s = 4, 8, 16, 32: the encoder's own features
            concatenated with the pyramid's and, at stride 4, with the heads' hidden features.
        """
        x = functional.relu6(self.conv(images * (2 / self.input_range) - 1), inplace=True)
        block_outputs = {}
        for number, block in enumerate(self.blocks[:NUM_FINE_BLOCKS]):
            x = block(x)
            block_outputs[number] = x
        last = self.compute_stride_32(x)
        pyramid = self._compute_pyramid([block_outputs[block] for block in PYRAMID_BLOCKS] + [last])
        parts = [[block_outputs[block], smooth] for block, smooth in zip(SKIP_BLOCKS, pyramid, strict=True)]
        parts[0] += [head(pyramid[0]) for head in self.heads]
        return [*(torch.cat(part, 1) for part in parts), last]

    def compute_stride_32(self, x: Tensor) -> Tensor:
        """Compute the features at stride 32 from the last block's output at stride 16.

        In the features of `forward` at stride 16 that output comes first.
        """
        for block in self.blocks[NUM_FINE_BLOCKS:]:
            x = block(x)
        return functional.relu6(self.last(x), inplace=True)

    def _compute_pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Features at strides 4 to 32 -> the pyramid's features at strides 4, 8, 16."""
        x = self.laterals[3](features[3])
        pyramid: list[Tensor] = []
        for level in (2, 1, 0):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = cast(SeparableConv, self.smooth[level])(x + self.laterals[level](features[level]))
            pyramid.insert(0, x)
        return pyramid


ResNetName = Literal["resnet50", "resnet101", "resnet152"]

RESNET_BLOCKS: dict[ResNetName, tuple[int, ...]] = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Number of blocks in each of the four layers."""

RESNET_CHANNELS = 2048
"""Channels at stride 32."""

BOTTLENECK_EXPANSION = 4
"""Channels after a bottleneck, as a multiple of its inner channels."""

MEAN_BGR = (0.480, 0.457, 0.406)
"""Mean that the published FastPose subtracts from the image, without a division (AlphaPose's
`transforms.presets.SimpleTransform`: 0.406, 0.457, 0.480 of RGB)."""


class Bottleneck(nn.Module):
    """ResNet's bottleneck; with a projection it has stride and squeeze-and-excitation before the sum."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        outputs = width * BOTTLENECK_EXPANSION
        self.reduce = ConvBlock(inputs, width, 1, activate=False)
        self.middle = ConvBlock(width, width, 3, stride=stride, activate=False)
        self.expand = ConvBlock(width, outputs, 1, activate=False)
        self.squeeze = SqueezeExcitation(outputs, outputs, slope=0.0) if project else nn.Identity()
        self.skip = ConvBlock(inputs, outputs, 1, stride=stride, activate=False) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 width, H / stride, W / stride)."""
        hidden = functional.relu(self.middle(functional.relu(self.reduce(x), inplace=True)), inplace=True)
        return functional.relu(self.squeeze(self.expand(hidden)) + self.skip(x), inplace=True)


class SEResNet(nn.Module):
    """ResNet whose first block in each layer has squeeze-and-excitation, as in AlphaPose's FastPose.

    Args:
        name: of `RESNET_BLOCKS`.

    Attributes:
        input_range: value of a white pixel.
    """

    def __init__(self, name: ResNetName) -> None:
        super().__init__()
        self.input_range = 1.0
        self.conv = ConvBlock(3, 64, 7, stride=2, activate=False)
        self.layers = nn.ModuleList()
        inputs = 64
        for layer, count in enumerate(RESNET_BLOCKS[name]):
            width = 64 << layer
            blocks = []
            for block in range(count):
                stride = 2 if layer and not block else 1
                blocks.append(Bottleneck(inputs, width, stride, project=not block))
                inputs = width * BOTTLENECK_EXPANSION
            self.layers.append(nn.Sequential(*blocks))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the features at stride 32, as a list of one.

        Args:
            images: (N, 3, H, W) BGR in [0, input_range]; H and W multiples of 32.
        """
        scale = 1 / self.input_range
        centered = torch.cat(
            [images[:, channel, None] * scale - mean for channel, mean in enumerate(MEAN_BGR)], 1
        )
        x = functional.relu(self.conv(centered), inplace=True)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for layer in self.layers:
            x = layer(x)
        return [x]


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor` as arXiv:1801.04381's code does.

    Returns:
        The nearest multiple, at least `divisor`; the next larger multiple if the nearest is below 0.9 of
        `channels`.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest

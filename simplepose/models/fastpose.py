"""FastPose, the network that reads the crop of one person (AlphaPose; RMPE, arXiv:1612.00137).

An encoder down to stride 32, then PixelShuffle and two DUC blocks up to stride 4. With a ResNet it is the
published network. With MobileNetV2 it is small, and the encoder's finer features are added on the way up.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from simplepose.config import FastPoseSettings
from simplepose.models.encoders import MobileNetV2, ResNetName, SEResNet
from simplepose.models.imhn import EncoderStem
from simplepose.models.layers import ConvBlock, run_checkpointed

UPSCALE = 2
"""Factor by which each PixelShuffle enlarges the maps."""

OUTPUT_INIT_STD = 0.001
"""Standard deviation of the last convolution's initial weights, as published."""


class ResNetStem(nn.Module):
    """Image -> a ResNet's features at stride 32: (N, 3, H, W) -> a list of (N, 2048, H / 32, W / 32)."""

    def __init__(self, encoder: SEResNet) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the features."""
        features: list[Tensor] = self.encoder(images)
        return features


class DUC(nn.Module):
    """Dense upsampling convolution (arXiv:1702.08502): (N, inputs, h, w) -> (N, outputs, 2 h, 2 w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBlock(inputs, outputs * UPSCALE**2, 3, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, 2 h, 2 w)."""
        return functional.pixel_shuffle(functional.relu(self.conv(x), inplace=True), UPSCALE)


class FastPose(nn.Module):
    """An encoder and a decoder of PixelShuffle and two DUC blocks.

    Args:
        channels: number of heatmaps: 17 for COCO.
        encoder, encoder_multiplier, coarse_expansion, widths: see `config.FastPoseSettings`.

    Attributes:
        stacks: number of outputs that are supervised: 1.
        activation_checkpointing: whether the stem and each DUC block store only their inputs until the
            backward pass, which then takes longer; False at first.
    """

    stacks = 1

    def __init__(
        self,
        channels: int = 17,
        encoder: ResNetName | Literal["mobilenet_v2"] = "resnet50",
        encoder_multiplier: float = 1.5,
        coarse_expansion: int = 6,
        widths: tuple[int, ...] = (512, 256, 128),
    ) -> None:
        super().__init__()
        self.activation_checkpointing = False
        coarse, middle, fine = widths
        self.stem: ResNetStem | EncoderStem
        if encoder == "mobilenet_v2":
            strides4_to_32 = (fine, middle, coarse, coarse * UPSCALE**2)
            self.stem = EncoderStem(MobileNetV2(encoder_multiplier, coarse_expansion), strides4_to_32)
        else:
            self.stem = ResNetStem(SEResNet(encoder))
        self.duc1 = DUC(coarse, middle)
        self.duc2 = DUC(middle, fine)
        self.maps = nn.Conv2d(fine, channels, 3, padding=1)
        if not next(self.parameters()).is_meta:
            self._initialize()

    @classmethod
    def from_settings(cls, settings: FastPoseSettings, channels: int) -> FastPose:
        """Build the network from its settings."""
        return cls(
            channels,
            settings.encoder,
            settings.encoder_multiplier,
            settings.coarse_expansion,
            settings.widths,
        )

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Compute the heatmaps of one person in each crop.

        Args:
            images: (N, 3, H, W) float BGR in [0, 1]; H and W multiples of 32.

        Returns:
            [[maps]], in the form of `IMHN.forward`: one stack and one scale, (N, channels, H / 4, W / 4).
        """
        *skips, x = self._run(self.stem, images)
        x = functional.pixel_shuffle(x, UPSCALE)
        for stage in (self.duc1, self.duc2):
            x = self._run(stage, x + skips.pop() if skips else x)
        return [[self.maps(x + skips.pop() if skips else x)]]

    def _run(self, part: nn.Module, inputs: Any) -> Any:
        """Run the stem or a DUC block."""
        return run_checkpointed(part, inputs) if self.activation_checkpointing else part(inputs)

    def _initialize(self) -> None:
        """Initialize convolutions for ReLU, and the last one as published."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.maps.weight, 0, OUTPUT_INIT_STD)

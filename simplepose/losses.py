"""The loss of one scale, and its sum over scales and stacks (arXiv:1911.10529)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.config import LossSettings
from simplepose.skeleton import Skeleton


def focal_l2(maps: Tensor, target: Tensor, weight: Tensor, gamma: float, foreground: float) -> Tensor:
    """Squared errors, those that are already small counted less (the focal L2 loss of arXiv:1911.10529).

    Args:
        maps: (N, C, h, w) what the network gave.
        target: (N, C, h, w) in [0, 1].
        weight: broadcastable to (N, C, h, w).
        gamma: focal exponent.
        foreground: a target of at least this counts as foreground.

    Returns:
        The sum, a scalar.
    """
    confidence = torch.where(target >= foreground, maps, 1 - maps)
    return ((maps - target) ** 2 * (1 - confidence).abs() ** gamma * weight).sum()


def l2(maps: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared errors, summed; shapes as in `focal_l2`."""
    return ((maps - target) ** 2 * weight).sum()


class MultiScaleLoss(nn.Module):
    """The loss of all stacks at all scales, a sample's mean.

    Args:
        settings: weights and exponent, see `config.LossSettings`.
        skeleton: which channels are keypoints and which the person mask.
    """

    channel_weights: Tensor
    scale_weights: Tensor
    stack_weights: Tensor

    def __init__(self, settings: LossSettings, skeleton: Skeleton) -> None:
        super().__init__()
        self.settings = settings
        weights = torch.ones(1, skeleton.channels, 1, 1)
        weights[:, skeleton.keypoint_channels] = settings.keypoint_weight
        weights[:, skeleton.person_mask_channel] = settings.person_mask_weight
        self.register_buffer("channel_weights", weights, persistent=False)
        self.register_buffer("scale_weights", torch.tensor(settings.scale_weights).float(), persistent=False)
        self.register_buffer("stack_weights", torch.tensor(settings.stack_weights).float(), persistent=False)

    def forward(
        self, outputs: Sequence[Sequence[Tensor]], target: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compare the network's maps with the targets; float32 whatever autocast says.

        Args:
            outputs: for each stack five maps (N, C, h / 2^j, w / 2^j), any float type.
            target: (N, C, h, w) float32 at stride 4.
            mask: (N, 1, h, w) float32 in [0, 1], 0 where nothing is known of the truth.

        Returns:
            The total (a scalar), and the loss of each stack at each scale, summed over the batch, before all
            weights (S, 5).

        Raises:
            ValueError: stack or scale weights do not fit the outputs.
        """
        stack_weights = self._weights_of(outputs)
        with torch.autocast(target.device.type, enabled=False):
            by_scale = [self._scale(list(stacks), target, mask) for stacks in zip(*outputs, strict=True)]
            parts = torch.stack(by_scale, 1)
            scales = (stack_weights @ parts) / stack_weights.sum()
            total = (self.scale_weights * scales).sum() / self.scale_weights.sum() / len(target)
        return total, parts.detach()

    def _scale(self, stacks: list[Tensor], target: Tensor, mask: Tensor) -> Tensor:
        """(S,): each stack's loss at one scale."""
        size = (stacks[0].shape[-2], stacks[0].shape[-1])
        target = functional.adaptive_avg_pool2d(target, size)
        mask = functional.interpolate(mask, size, mode="bilinear", align_corners=False)
        weight = torch.where(mask < 0.5, 0.0, mask) * self.channel_weights
        return torch.stack([self._one(maps.float().contiguous(), target, weight) for maps in stacks])

    def _one(self, maps: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        if self.settings.kind == "l2":
            return l2(maps, target, weight)
        return focal_l2(maps, target, weight, self.settings.gamma, self.settings.foreground)

    def _weights_of(self, outputs: Sequence[Sequence[Tensor]]) -> Tensor:
        """(S,) the stacks' weights."""
        stacks, scales = len(outputs), len(outputs[0])
        if len(self.scale_weights) != scales:
            raise ValueError(f"{scales} loss.scale_weights expected, got {len(self.scale_weights)}")
        if not len(self.stack_weights):
            return self.scale_weights.new_ones(stacks)
        if len(self.stack_weights) != stacks:
            raise ValueError(
                f"{stacks} loss.stack_weights expected (one a stack), got {len(self.stack_weights)}"
            )
        return self.stack_weights

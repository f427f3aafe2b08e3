"""The loss of one scale, and its sum over scales and stacks (arXiv:1911.10529)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose.config import LossSettings
from simplepose.skeleton import Skeleton


def focal_l2(maps: Tensor, target: Tensor, weight: Tensor, gamma: float, foreground: float) -> Tensor:
    """Compute the focal L2 loss of arXiv:1911.10529: squared errors, with less weight on small errors.

    Args:
        maps: (N, C, h, w) the network's output.
        target: (N, C, h, w) in [0, 1].
        weight: broadcastable to (N, C, h, w).
        gamma: focal exponent.
        foreground: smallest target value that is foreground.

    Returns:
        The sum, a scalar.
    """
    confidence = torch.where(target >= foreground, maps, 1 - maps)
    return ((maps - target) ** 2 * (1 - confidence).abs() ** gamma * weight).sum()


def l2(maps: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Compute the weighted sum of squared errors; shapes as in `focal_l2`."""
    return ((maps - target) ** 2 * weight).sum()


class MultiScaleLoss(nn.Module):
    """The loss of all stacks at all scales, as the mean over samples.

    Args:
        settings: weights and exponent, see `config.LossSettings`.
        skeleton: defines the channels of the keypoint heatmaps and the person mask; None: the maps are
            heatmaps only, and have the same weight.
    """

    channel_weights: Tensor
    scale_weights: Tensor
    stack_weights: Tensor

    def __init__(self, settings: LossSettings, skeleton: Skeleton | None) -> None:
        super().__init__()
        self.settings = settings
        weights = torch.ones(1, skeleton.channels if skeleton else 1, 1, 1)
        if skeleton:
            weights[:, skeleton.keypoint_channels] = settings.keypoint_weight
            weights[:, skeleton.person_mask_channel] = settings.person_mask_weight
        self.register_buffer("channel_weights", weights, persistent=False)
        self.register_buffer("scale_weights", torch.tensor(settings.scale_weights).float(), persistent=False)
        self.register_buffer("stack_weights", torch.tensor(settings.stack_weights).float(), persistent=False)

    def forward(
        self, outputs: Sequence[Sequence[Tensor]], target: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss in float32, even under autocast.

        Args:
            outputs: for each stack five maps (N, C, h / 2^j, w / 2^j), any float dtype.
            target: (N, C, h, w) float32 at stride 4.
            mask: (N, 1 or C, h, w) float32 in [0, 1], 0 where the ground truth is unknown.

        Returns:
            The total (a scalar), and the loss of each stack at each scale, summed over the batch, before
            stack and scale weights (S, 5).

        Raises:
            ValueError: the number of stack or scale weights differs from the outputs.
        """
        stack_weights = self._get_stack_weights(outputs)
        with torch.autocast(target.device.type, enabled=False):
            by_scale = [
                self._compute_scale_losses(list(stacks), target, mask)
                for stacks in zip(*outputs, strict=True)
            ]
            parts = torch.stack(by_scale, 1)
            scales = (stack_weights @ parts) / stack_weights.sum()
            total = (self.scale_weights * scales).sum() / self.scale_weights.sum() / len(target)
        return total, parts.detach()

    def _compute_scale_losses(self, stacks: list[Tensor], target: Tensor, mask: Tensor) -> Tensor:
        """Compute each stack's loss at one scale, (S,)."""
        size = (stacks[0].shape[-2], stacks[0].shape[-1])
        target = functional.adaptive_avg_pool2d(target, size)
        mask = functional.interpolate(mask, size, mode="bilinear", align_corners=False)
        weight = torch.where(mask < 0.5, 0.0, mask) * self.channel_weights
        return torch.stack(
            [self._compute_map_loss(maps.float().contiguous(), target, weight) for maps in stacks]
        )

    def _compute_map_loss(self, maps: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        if self.settings.kind == "l2":
            return l2(maps, target, weight)
        return focal_l2(maps, target, weight, self.settings.gamma, self.settings.foreground)

    def _get_stack_weights(self, outputs: Sequence[Sequence[Tensor]]) -> Tensor:
        """Check the number of weights and return the stacks' weights, (S,)."""
        stacks, scales = len(outputs), len(outputs[0])
        if len(self.scale_weights) != scales:
            raise ValueError(f"loss.scale_weights: expected {scales} values, got {len(self.scale_weights)}")
        if not len(self.stack_weights):
            return self.scale_weights.new_ones(stacks)
        if len(self.stack_weights) != stacks:
            raise ValueError(
                f"loss.stack_weights: expected {stacks} values (one per stack), got {len(self.stack_weights)}"
            )
        return self.stack_weights

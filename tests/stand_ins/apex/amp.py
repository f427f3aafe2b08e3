"""apex.amp at opt level O1 with a dynamic loss scale; it casts nothing."""

import contextlib

import torch

FIRST_SCALE, LARGEST_SCALE, GROWTH_STEPS = 2.0**16, 2.0**24, 2000
_scaler = {}


def initialize(models, optimizers=None, enabled=True, opt_level="O1", verbosity=1, **other):
    """Returns what it was given, as O1 does; once a process."""
    assert opt_level == "O1"
    assert isinstance(models, torch.nn.Module)
    assert isinstance(optimizers, torch.optim.Optimizer)
    _scaler.update(loss_scale=FIRST_SCALE, unskipped=0)
    optimizers.stand_in_initialized = True
    return models, optimizers


@contextlib.contextmanager
def scale_loss(loss, optimizers):
    """On exit gradients are unscaled and checked; after an overflow the next `step` does nothing."""
    assert optimizers.stand_in_initialized
    kept = [parameter.grad for parameter in master_params(optimizers)]
    for parameter in master_params(optimizers):
        parameter.grad = None
    scale = _scaler["loss_scale"]
    yield loss.float() * scale
    overflow = False
    for parameter, before in zip(master_params(optimizers), kept, strict=True):
        if parameter.grad is None:
            parameter.grad = before
            continue
        overflow |= not bool(parameter.grad.isfinite().all())
        parameter.grad = parameter.grad / scale + (0 if before is None else before)
    if not overflow:
        _scaler["unskipped"] += 1
        if _scaler["unskipped"] == GROWTH_STEPS:
            _scaler.update(loss_scale=min(2 * scale, LARGEST_SCALE), unskipped=0)
        return
    _scaler.update(loss_scale=scale / 2, unskipped=0)
    if "step" not in vars(optimizers):

        def skipped(closure=None):
            assert closure is None
            del optimizers.step

        optimizers.step = skipped


def master_params(optimizer):
    """The parameters that the optimizer steps."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def state_dict():
    """Of the loss scalers, by number."""
    return {"loss_scaler0": dict(_scaler)}


def load_state_dict(state):
    """The opposite."""
    _scaler.update(state["loss_scaler0"])

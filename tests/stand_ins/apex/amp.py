"""apex.amp at opt level O1 with a dynamic loss scale, without casts."""

import contextlib

import torch

INITIAL_SCALE, MAX_SCALE, GROWTH_STEPS = 2.0**16, 2.0**24, 2000
_scaler = {}


def initialize(models, optimizers=None, enabled=True, opt_level="O1", verbosity=1, **other):
    """Return the arguments unchanged, as O1 does; called once per process."""
    assert opt_level == "O1"
    assert isinstance(models, torch.nn.Module)
    assert isinstance(optimizers, torch.optim.Optimizer)
    _scaler.update(loss_scale=INITIAL_SCALE, unskipped=0)
    optimizers.stand_in_initialized = True
    return models, optimizers


@contextlib.contextmanager
def scale_loss(loss, optimizers):
    """Unscale and check the gradients on exit; after an overflow, the next `step` does nothing."""
    assert optimizers.stand_in_initialized
    saved = [parameter.grad for parameter in master_params(optimizers)]
    for parameter in master_params(optimizers):
        parameter.grad = None
    scale = _scaler["loss_scale"]
    yield loss.float() * scale
    overflow = False
    for parameter, before in zip(master_params(optimizers), saved, strict=True):
        if parameter.grad is None:
            parameter.grad = before
            continue
        overflow |= not bool(parameter.grad.isfinite().all())
        parameter.grad = parameter.grad / scale + (0 if before is None else before)
    if not overflow:
        _scaler["unskipped"] += 1
        if _scaler["unskipped"] == GROWTH_STEPS:
            _scaler.update(loss_scale=min(2 * scale, MAX_SCALE), unskipped=0)
        return
    _scaler.update(loss_scale=scale / 2, unskipped=0)
    if "step" not in vars(optimizers):

        def skip_step(closure=None):
            assert closure is None
            del optimizers.step

        optimizers.step = skip_step


def master_params(optimizer):
    """Return the parameters of an optimizer."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def state_dict():
    """Return the state of the loss scalers by number."""
    return {"loss_scaler0": dict(_scaler)}


def load_state_dict(state):
    """Restore the result of `state_dict()`."""
    _scaler.update(state["loss_scaler0"])

"""The names of the number types that networks run in."""

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""fp32 is the weights' own. Training runs the others under autocast; a network for use has its weights so."""

"""SimplePose: bottom-up multi-person pose estimation.

Dimensions in the docstrings: N batch, S stacks, P people, J network joints, A annotated
joints, L limbs, C channels, H W picture, h w maps. Pictures are H x W x 3 uint8, BGR.
"""

__version__ = "0.1.0"

"""Training: steps, the loop around them, checkpoints and logs."""

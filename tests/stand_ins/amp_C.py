"""apex's CUDA extension, as far as that it can be imported."""

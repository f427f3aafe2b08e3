"""Stand-in for the module that identifies NVIDIA apex."""

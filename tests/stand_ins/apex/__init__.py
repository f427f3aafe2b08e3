"""A stand-in for NVIDIA apex: the documented behavior of the parts that are used, on any device.

https://nvidia.github.io/apex/optimizers.html
"""

"""A stand-in for NVIDIA apex: the documented behavior of the parts that are used, on any device.

https://nvidia.github.io/apex/amp.html, https://nvidia.github.io/apex/advanced.html and
https://nvidia.github.io/apex/optimizers.html
"""

"""Packed weights by the original packages, with the values that these read there themselves.

Each module has ``PACKAGE``, the package that its makers need, and ``cases(seed)``: name of a case,
which begins with the packing -> (stored torch tensors, quantization_config, values).
"""

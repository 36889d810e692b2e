"""The difference of two models as an adapter, for PEFT and for mlx-lm.

`extract_lora.extract` is the whole of it.
"""

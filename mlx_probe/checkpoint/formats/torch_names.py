"""The classes and functions of torch that the pickles of weights name."""

from __future__ import annotations

__all__ = [
    "ALLOWED",
    "DICTIONARIES",
    "FROM_TYPE",
    "LEAVES",
    "NUMPY_ARRAYS",
    "STORAGES",
    "TORCH_DTYPES",
    "WITH_STATE",
    "WRAPPERS",
]

# Name in torch: name in safetensors (torch's own if it has none there), bytes.
TORCH_DTYPES = {
    "float64": ("F64", 8),
    "float32": ("F32", 4),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "float8_e4m3fn": ("F8_E4M3", 1),
    "float8_e5m2": ("F8_E5M2", 1),
    "float8_e4m3fnuz": ("F8_E4M3FNUZ", 1),
    "float8_e5m2fnuz": ("F8_E5M2FNUZ", 1),
    "float8_e8m0fnu": ("F8_E8M0", 1),
    "float4_e2m1fn_x2": ("float4_e2m1fn_x2", 1),
    "int64": ("I64", 8),
    "int32": ("I32", 4),
    "int16": ("I16", 2),
    "int8": ("I8", 1),
    "uint64": ("U64", 8),
    "uint32": ("U32", 4),
    "uint16": ("U16", 2),
    "uint8": ("U8", 1),
    "bool": ("BOOL", 1),
    "complex128": ("complex128", 16),
    "complex64": ("complex64", 8),
    "complex32": ("complex32", 4),
    "qint32": ("qint32", 4),
    "qint8": ("qint8", 1),
    "quint8": ("quint8", 1),
    "quint4x2": ("quint4x2", 1),
    "quint2x4": ("quint2x4", 1),
    **{f"{kind}{bits}": (f"{kind}{bits}", 1) for kind in ("int", "uint") for bits in range(1, 8)},
}
STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.ComplexFloatStorage": "complex64",
    "torch.QInt32Storage": "qint32",
    "torch.QInt8Storage": "qint8",
    "torch.QUInt8Storage": "quint8",
    "torch.QUInt4x2Storage": "quint4x2",
    "torch.QUInt2x4Storage": "quint2x4",
    "torch.storage.UntypedStorage": "uint8",
    "torch.UntypedStorage": "uint8",
}
_REBUILDS = frozenset(
    f"torch._utils._rebuild_{name}"
    for name in (
        "tensor",
        "tensor_v2",
        "tensor_v3",
        "qtensor",
        "sparse_tensor",
        "nested_tensor",
        "meta_tensor_no_storage",
        "wrapper_subclass",
    )
)
# Wrappers around a tensor, which is their first argument.
WRAPPERS = frozenset(
    {
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_xla_tensor",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
    }
)
FROM_TYPE = frozenset(
    f"torch.{module}._rebuild_from_type{version}"
    for module in ("_tensor", "tensor")
    for version in ("", "_v2")
)
# Calls whose fourth argument is attributes of the tensor.
WITH_STATE = frozenset({*FROM_TYPE, "torch._utils._rebuild_parameter_with_state"})
NUMPY_ARRAYS = frozenset(
    f"{package}.{name}"
    for package in ("numpy.core", "numpy._core")
    for name in ("multiarray._reconstruct", "numeric._frombuffer")
)
LEAVES = _REBUILDS | WRAPPERS | FROM_TYPE | NUMPY_ARRAYS
# Classes that Python 2 calls with their items: OrderedDict([[key, value], ...]).
DICTIONARIES = frozenset(
    {"builtins.dict", "collections.Counter", "collections.OrderedDict", "collections.defaultdict"}
)
# Other names: what weights_only=True allows, and plain data that trainers add.
_DATA = frozenset(
    {
        "_codecs.encode",
        "argparse.Namespace",
        "builtins.bool",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.float",
        "builtins.frozenset",
        "builtins.int",
        "builtins.list",
        "builtins.set",
        "builtins.slice",
        "builtins.str",
        "builtins.tuple",
        "datetime.datetime",
        "datetime.timedelta",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.WindowsPath",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.per_channel_affine",
        "torch.per_channel_affine_float_qparams",
        "torch.per_channel_symmetric",
        "torch.per_tensor_affine",
        "torch.per_tensor_symmetric",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage",
        "torch.torch_version.TorchVersion",
    }
)
ALLOWED = (
    LEAVES | DICTIONARIES | _DATA | STORAGES.keys() | {f"torch.{name}" for name in TORCH_DTYPES}
)

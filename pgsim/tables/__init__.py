"""ORM models of the tables in schema ``pgsim``; no behaviour."""

from pgsim.tables.base import SCHEMA, Base
from pgsim.tables.batch import Batch, BatchRow, SliceBatch
from pgsim.tables.cluster import Cluster, ClusteredRow, ClusterRun, SliceClusterRun
from pgsim.tables.data_row import DataRow
from pgsim.tables.embedding import Embedding, EmbeddingType, Landmark, RetiredPartition
from pgsim.tables.encoding import EncodingJob
from pgsim.tables.installation import Installation
from pgsim.tables.metadata_field import MetadataField
from pgsim.tables.neighbourhood import SliceChange, SliceEpoch, SliceMatch, SliceNeighbourhood, SliceVector
from pgsim.tables.slice import Slice, SliceAnchor, SliceEmbeddingType, SliceUse
from pgsim.tables.workspace import Workspace

__all__ = [
    "SCHEMA",
    "Base",
    "Batch",
    "BatchRow",
    "Cluster",
    "ClusterRun",
    "ClusteredRow",
    "DataRow",
    "Embedding",
    "EmbeddingType",
    "EncodingJob",
    "Installation",
    "Landmark",
    "MetadataField",
    "RetiredPartition",
    "Slice",
    "SliceAnchor",
    "SliceBatch",
    "SliceChange",
    "SliceClusterRun",
    "SliceEmbeddingType",
    "SliceEpoch",
    "SliceMatch",
    "SliceNeighbourhood",
    "SliceUse",
    "SliceVector",
    "Workspace",
]

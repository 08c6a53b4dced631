"""Vectors: loading, calibrating, indexing and exporting the embeddings of one embedding type."""

"""Workspaces, data rows and embedding types: what there is, before any vector is read."""

"""Models that turn images and texts into vectors: one small protocol, and one file for each library."""

"""pgsim beside SQL written by hand, vecs, FAISS and sqlite-vec, on the same data in one run; see README.md."""

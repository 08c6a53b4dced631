"""Work that is done beside the writers: computing the embeddings of rows that arrive."""

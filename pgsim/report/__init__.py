"""One page that a dataset is judged by: facts gathered in one snapshot, shown by a file that needs nothing else."""

"""From a data row's address or content to what a model takes, within limits."""

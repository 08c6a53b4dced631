"""Files as they come and go: lines, vectors, reports of an import, and outputs that are whole or not there."""

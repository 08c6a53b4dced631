"""The demonstration: 1,797 handwritten digits, from image files to a live slice."""

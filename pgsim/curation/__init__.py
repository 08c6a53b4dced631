"""Acting on what was found: batches, bulk metadata, smart select, export."""

"""Filters: conditions over data rows, as JSON (``nodes``), as text (``parse``, ``text``) and as SQL (``compile``).

Nothing is imported here: reading a filter should not wait for SQLAlchemy.
"""

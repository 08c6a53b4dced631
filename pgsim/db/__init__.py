"""The database: its server, connections, schema, named queries and errors."""

-- metadata.a = 'x'
pgsim.data_row.metadata @> CAST(%(param_1)s::VARCHAR AS JSONB)
-- param_1: {"a": "x"}

-- media.n = '5'
pgsim.data_row.media @> CAST(%(param_1)s::VARCHAR AS JSONB)
-- param_1: {"n": "5"}

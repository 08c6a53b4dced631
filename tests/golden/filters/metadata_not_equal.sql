-- metadata.a != 0.1
NOT CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'number') THEN pgsim.data_row.metadata @> CAST(%(param_2)s::VARCHAR AS JSONB) END
-- param_1: a
-- param_2: {"a": 0.1}

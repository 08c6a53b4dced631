-- metadata.a <= 1e400
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'number') THEN CAST(pgsim.data_row.metadata -> %(param_2)s::VARCHAR AS NUMERIC) END <= %(param_3)s
-- param_1: a
-- param_2: a
-- param_3: 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000

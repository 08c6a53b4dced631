-- metadata.a not in ('x', 'y')
NOT CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'string') THEN pgsim.data_row.metadata @> ANY (CAST(CAST(%(param_2)s::TEXT[] AS TEXT[]) AS JSONB[])) END
-- param_1: a
-- param_2: ['{"a": "x"}', '{"a": "y"}']

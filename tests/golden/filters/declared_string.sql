-- metadata.label in ('x', 'y')
(CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'string') THEN pgsim.data_row.metadata ->> %(param_2)s::VARCHAR END COLLATE "C") = ANY (CAST(%(param_3)s::TEXT[] AS TEXT[]))
-- param_1: label
-- param_2: label
-- param_3: ['x', 'y']

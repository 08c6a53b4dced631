-- metadata.a in ('x', 'y', 1, true)
(pgsim.data_row.metadata @> ANY (CAST(CAST(%(param_1)s::TEXT[] AS TEXT[]) AS JSONB[]))) OR (pgsim.data_row.metadata @> CAST(%(param_2)s::VARCHAR AS JSONB)) OR (pgsim.data_row.metadata @> CAST(%(param_3)s::VARCHAR AS JSONB))
-- param_1: ['{"a": "x"}', '{"a": "y"}']
-- param_2: {"a": 1}
-- param_3: {"a": true}

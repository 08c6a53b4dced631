-- metadata.n between 1 and 2.5
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'number') THEN CAST(pgsim.data_row.metadata -> %(param_2)s::VARCHAR AS NUMERIC) END >= %(param_3)s AND CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_4)s::VARCHAR) = 'number') THEN CAST(pgsim.data_row.metadata -> %(param_5)s::VARCHAR AS NUMERIC) END <= %(param_6)s
-- param_1: n
-- param_2: n
-- param_3: 1
-- param_4: n
-- param_5: n
-- param_6: 2.5

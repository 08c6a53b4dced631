-- metadata.flag = true
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'boolean') THEN CAST(pgsim.data_row.metadata -> %(param_2)s::VARCHAR AS BOOLEAN) END = %(param_3)s
-- param_1: flag
-- param_2: flag
-- param_3: True

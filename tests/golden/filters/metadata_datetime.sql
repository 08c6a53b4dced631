-- metadata.taken > '2024-01-01'
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'string') THEN pgsim.instant(pgsim.data_row.metadata ->> %(param_2)s::VARCHAR) END > %(param_3)s::TIMESTAMP WITH TIME ZONE
-- param_1: taken
-- param_2: taken
-- param_3: 2024-01-01 00:00:00+00:00

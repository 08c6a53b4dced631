-- metadata.taken > '2024-01-01'
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'string' AND ((pgsim.data_row.metadata ->> %(param_2)s::VARCHAR) ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)?)?$') AND pg_input_is_valid(pgsim.data_row.metadata ->> %(param_2)s::VARCHAR, 'timestamptz')) THEN CAST((pgsim.data_row.metadata ->> %(param_2)s::VARCHAR) || CASE WHEN ((pgsim.data_row.metadata ->> %(param_2)s::VARCHAR) ~ '([Zz]|:.*[+-][0-9]{2}(:?[0-9]{2})?)$') THEN '' ELSE 'Z' END AS TIMESTAMP WITH TIME ZONE) END > %(param_3)s::TIMESTAMP WITH TIME ZONE
-- param_1: taken
-- param_2: taken
-- param_3: 2024-01-01 00:00:00+00:00

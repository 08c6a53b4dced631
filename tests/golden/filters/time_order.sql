-- created_at >= '2024-01-01T10:00+02:00'
pgsim.data_row.created_at >= %(param_1)s::TIMESTAMP WITH TIME ZONE
-- param_1: 2024-01-01 10:00:00+02:00

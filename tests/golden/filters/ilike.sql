-- uri ilike 'a%'
pgsim.data_row.uri ILIKE %(param_1)s::VARCHAR
-- param_1: a%

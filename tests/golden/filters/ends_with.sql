-- uri not ends_with 'a'
pgsim.data_row.uri NOT LIKE %(param_1)s::VARCHAR
-- param_1: %a

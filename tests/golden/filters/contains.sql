-- uri contains '50%_\'
pgsim.data_row.uri LIKE %(param_1)s::VARCHAR
-- param_1: %50\%\_\\%

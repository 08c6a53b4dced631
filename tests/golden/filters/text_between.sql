-- id between 'a' and 'b'
(pgsim.data_row.id COLLATE "C") BETWEEN %(param_1)s::VARCHAR AND %(param_2)s::VARCHAR
-- param_1: a
-- param_2: b

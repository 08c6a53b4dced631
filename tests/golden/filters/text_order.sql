-- dataset < 'a'
(pgsim.data_row.dataset COLLATE "C") < %(param_1)s::VARCHAR
-- param_1: a

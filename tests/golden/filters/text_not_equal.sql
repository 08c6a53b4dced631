-- dataset != 'a'
pgsim.data_row.dataset != %(param_1)s::VARCHAR
-- param_1: a

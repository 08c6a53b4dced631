-- uri starts_with 'a%'
pgsim.data_row.uri LIKE %(param_1)s::VARCHAR
-- param_1: a\%%

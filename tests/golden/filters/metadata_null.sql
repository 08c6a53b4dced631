-- metadata."two words" is null
(pgsim.data_row.metadata ->> %(param_1)s::VARCHAR) IS NULL
-- param_1: two words

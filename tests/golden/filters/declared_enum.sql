-- not (metadata.split = 'train')
(CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'string') THEN pgsim.data_row.metadata ->> %(param_2)s::VARCHAR END COLLATE "C") != %(param_3)s::VARCHAR
-- param_1: split
-- param_2: split
-- param_3: train

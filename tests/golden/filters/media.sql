-- media.width = 640
pgsim.data_row.media @> CAST(%(param_1)s::VARCHAR AS JSONB)
-- param_1: {"width": 640}

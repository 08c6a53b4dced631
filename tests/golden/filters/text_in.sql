-- asset_type in ('image', 'video')
pgsim.data_row.asset_type = ANY (CAST(%(param_1)s::TEXT[] AS TEXT[]))
-- param_1: ['image', 'video']

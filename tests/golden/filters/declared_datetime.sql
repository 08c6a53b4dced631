-- metadata.taken in ('2024-01-01', '2024-01-02')
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'string') THEN pgsim.instant(pgsim.data_row.metadata ->> %(param_2)s::VARCHAR) END = ANY (CAST(%(param_3)s::TIMESTAMP WITH TIME ZONE[] AS TIMESTAMP WITH TIME ZONE[]))
-- param_1: taken
-- param_2: taken
-- param_3: [datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2024, 1, 2, 0,

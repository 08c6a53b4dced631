-- created_at in ('2024-01-01', '2024-01-02T00:00:00.123456789Z')
pgsim.data_row.created_at = ANY (CAST(%(param_1)s::TIMESTAMP WITH TIME ZONE[] AS TIMESTAMP WITH TIME ZONE[]))
-- param_1: [datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2024, 1, 2, 0,

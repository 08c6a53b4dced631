-- metadata.a in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
CASE WHEN (jsonb_typeof(pgsim.data_row.metadata -> %(param_1)s::VARCHAR) = 'number') THEN CAST(pgsim.data_row.metadata -> %(param_2)s::VARCHAR AS NUMERIC) END = ANY (CAST(%(param_3)s::NUMERIC[] AS NUMERIC[]))
-- param_1: a
-- param_2: a
-- param_3: [Decimal('0'), Decimal('1'), Decimal('2'), Decimal('3'), Decimal('4'), Decimal('5'), Decimal('6'), D

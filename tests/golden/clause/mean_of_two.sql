((e.vector <-> CAST(%(param_1)s AS VECTOR)) + (e.vector <-> CAST(%(param_2)s AS VECTOR))) / CAST(2 AS DOUBLE PRECISION) <= %(param_3)s

(e.vector <=> CAST(%(param_1)s AS VECTOR)) <= %(param_2)s

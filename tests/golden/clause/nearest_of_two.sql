least(e.vector <+> CAST(%(param_1)s AS VECTOR), e.vector <+> CAST(%(param_2)s AS VECTOR)) <= %(param_3)s

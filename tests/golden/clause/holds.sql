EXISTS (SELECT 1 
FROM pgsim.embedding_7 AS embedding_7_1 
WHERE embedding_7_1.data_row_id = (r.id) AND (embedding_7_1.vector <+> CAST(%(param_1)s AS VECTOR)) <= %(param_2)s)

SELECT pgsim.score(e.vector <+> CAST(%(param_1)s AS VECTOR), %(param_2)s, %(param_3)s) AS score_1, CASE WHEN (e.data_row_id IS NOT NULL) THEN CAST(%(param_4)s::VARCHAR AS TEXT) END AS anon_1 
FROM pgsim.embedding_7 AS e

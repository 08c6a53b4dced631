SELECT pgsim.score(least(e.vector <+> CAST(%(param_1)s AS VECTOR), e.vector <+> CAST(%(param_2)s AS VECTOR)), %(param_3)s, %(param_4)s) AS score_1, (SELECT near.name 
FROM unnest(ARRAY[e.vector <+> CAST(%(param_1)s AS VECTOR), e.vector <+> CAST(%(param_2)s AS VECTOR)], CAST(%(param_5)s::TEXT[] AS TEXT[])) WITH ORDINALITY AS near(distance, name, position) 
WHERE near.distance IS NOT NULL ORDER BY near.distance, near.position 
 LIMIT 1) AS anon_1 
FROM pgsim.embedding_7 AS e

SELECT r.id AS data_row_id, r.asset_type, r.uri, r.dataset, r.metadata, r.created_at, pgsim.score(((e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR)) + (e.vector <+> (SELECT embedding_1_2.vector 
FROM pgsim.embedding_1 AS embedding_1_2 
WHERE embedding_1_2.data_row_id = 'r7'::VARCHAR))) / CAST(2 AS DOUBLE PRECISION), (SELECT embedding_type_1.score_half 
FROM pgsim.embedding_type AS embedding_type_1 
WHERE embedding_type_1.id = 1::BIGINT), (SELECT embedding_type_2.score_power 
FROM pgsim.embedding_type AS embedding_type_2 
WHERE embedding_type_2.id = 1::BIGINT)) AS score, (SELECT near.name 
FROM unnest(ARRAY[e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR), e.vector <+> (SELECT embedding_1_2.vector 
FROM pgsim.embedding_1 AS embedding_1_2 
WHERE embedding_1_2.data_row_id = 'r7'::VARCHAR)], CAST('{r5,r7}'::TEXT[] AS TEXT[])) WITH ORDINALITY AS near(distance, name, position) 
WHERE near.distance IS NOT NULL ORDER BY near.distance, near.position 
 LIMIT 1) AS nearest_anchor 
FROM pgsim.data_row AS r JOIN pgsim.embedding_1 AS e ON e.data_row_id = r.id 
WHERE r.workspace_id = 1::BIGINT AND ((e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR)) + (e.vector <+> (SELECT embedding_1_2.vector 
FROM pgsim.embedding_1 AS embedding_1_2 
WHERE embedding_1_2.data_row_id = 'r7'::VARCHAR))) / CAST(2 AS DOUBLE PRECISION) <= (SELECT anon_1.farthest 
FROM pgsim.embedding_type AS embedding_type_3, pgsim.distance_bounds(0.25, 0.5, embedding_type_3.score_half, embedding_type_3.score_power) AS anon_1 
WHERE embedding_type_3.id = 1::BIGINT) AND ((e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR)) + (e.vector <+> (SELECT embedding_1_2.vector 
FROM pgsim.embedding_1 AS embedding_1_2 
WHERE embedding_1_2.data_row_id = 'r7'::VARCHAR))) / CAST(2 AS DOUBLE PRECISION) >= (SELECT anon_2.closest 
FROM pgsim.embedding_type AS embedding_type_4, pgsim.distance_bounds(0.25, 0.5, embedding_type_4.score_half, embedding_type_4.score_power) AS anon_2 
WHERE embedding_type_4.id = 1::BIGINT) AND (e.vector <+> (SELECT embedding_1_3.vector 
FROM pgsim.embedding_1 AS embedding_1_3 
WHERE embedding_1_3.data_row_id = 'r9'::VARCHAR)) >= least(e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR), e.vector <+> (SELECT embedding_1_2.vector 
FROM pgsim.embedding_1 AS embedding_1_2 
WHERE embedding_1_2.data_row_id = 'r7'::VARCHAR))

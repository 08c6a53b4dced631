SELECT r.id AS data_row_id, r.asset_type, r.uri, r.dataset, r.metadata, r.created_at, pgsim.score(e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR), (SELECT embedding_type_1.score_half 
FROM pgsim.embedding_type AS embedding_type_1 
WHERE embedding_type_1.id = 1::BIGINT), (SELECT embedding_type_2.score_power 
FROM pgsim.embedding_type AS embedding_type_2 
WHERE embedding_type_2.id = 1::BIGINT)) AS score, CASE WHEN (e.data_row_id IS NOT NULL) THEN CAST('r5'::VARCHAR AS TEXT) END AS nearest_anchor 
FROM pgsim.data_row AS r JOIN pgsim.embedding_1 AS e ON e.data_row_id = r.id 
WHERE r.workspace_id = 1::BIGINT AND (e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR)) <= (SELECT anon_1.farthest 
FROM pgsim.embedding_type AS embedding_type_3, pgsim.distance_bounds(0.25, 1.0, embedding_type_3.score_half, embedding_type_3.score_power) AS anon_1 
WHERE embedding_type_3.id = 1::BIGINT) AND NOT CASE WHEN (EXISTS (SELECT 1 
FROM pgsim.embedding_2 AS embedding_2_1 
WHERE embedding_2_1.data_row_id = (r.id) AND (embedding_2_1.vector <+> (SELECT embedding_2_2.vector 
FROM pgsim.embedding_2 AS embedding_2_2 
WHERE embedding_2_2.data_row_id = 'r6'::VARCHAR)) <= (SELECT anon_2.farthest 
FROM pgsim.embedding_type AS embedding_type_4, pgsim.distance_bounds(0.25, 1.0, embedding_type_4.score_half, embedding_type_4.score_power) AS anon_2 
WHERE embedding_type_4.id = 2::BIGINT))) THEN true WHEN (EXISTS (SELECT 1 
FROM pgsim.embedding_2 AS embedding_2_3 
WHERE embedding_2_3.data_row_id = (r.id))) THEN false END

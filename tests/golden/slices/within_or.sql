SELECT r.id AS data_row_id, r.asset_type, r.uri, r.dataset, r.metadata, r.created_at, CAST(NULL AS DOUBLE PRECISION) AS score, CAST(NULL AS TEXT) AS nearest_anchor 
FROM pgsim.data_row AS r 
WHERE r.workspace_id = 1::BIGINT AND ((EXISTS (SELECT 1 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = (r.id) AND (embedding_1_1.vector <+> (SELECT embedding_1_2.vector 
FROM pgsim.embedding_1 AS embedding_1_2 
WHERE embedding_1_2.data_row_id = 'r5'::VARCHAR)) <= (SELECT anon_1.farthest 
FROM pgsim.embedding_type AS embedding_type_1, pgsim.distance_bounds(0.25, 1.0, embedding_type_1.score_half, embedding_type_1.score_power) AS anon_1 
WHERE embedding_type_1.id = 1::BIGINT))) OR (r.metadata @> CAST('{"n": 17}'::VARCHAR AS JSONB)))

EXISTS (SELECT 1 
FROM pgsim.embedding_7 AS embedding_7_1 
WHERE embedding_7_1.data_row_id = (r.id) AND true)

select u.id as data_row_id, "u"."asset_type", "u"."uri", "u"."dataset", "u"."metadata", "u"."created_at", u.score, u.nearest_anchor
from (
select "r"."workspace_id", "r"."id", "r"."asset_type", "r"."uri", "r"."content", "r"."dataset", "r"."metadata", "r"."media", "r"."created_at", "r"."updated_at",
    pgsim.score(m.distance, t.score_half, t.score_power) as score,
    (array['r5', 'vector:1']::text[])[m.nearest_anchor] as nearest_anchor
from pgsim.slice_match m
join pgsim.embedding_type t on t.id = 1
join pgsim.data_row r on r.workspace_id = 1 and r.id = m.data_row_id
where m.slice_id = 7 and (select b.state = 'kept' from pgsim.slice_neighbourhood b where b.slice_id = 7 and b.revision = 3)
    and (CASE WHEN (jsonb_typeof(r.metadata -> 'n'::VARCHAR) = 'number') THEN CAST(r.metadata -> 'n'::VARCHAR AS NUMERIC) END < 17)
union all
(SELECT r.workspace_id, r.id, r.asset_type, r.uri, r.content, r.dataset, r.metadata, r.media, r.created_at, r.updated_at, pgsim.score(least(e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR), e.vector <+> CAST('[10.0,10.0,10.0,10.0,10.0,10.0,10.0,10.0]' AS VECTOR)), (SELECT embedding_type_1.score_half 
FROM pgsim.embedding_type AS embedding_type_1 
WHERE embedding_type_1.id = 1::BIGINT), (SELECT embedding_type_2.score_power 
FROM pgsim.embedding_type AS embedding_type_2 
WHERE embedding_type_2.id = 1::BIGINT)) AS score, (SELECT near.name 
FROM unnest(ARRAY[e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR), e.vector <+> CAST('[10.0,10.0,10.0,10.0,10.0,10.0,10.0,10.0]' AS VECTOR)], CAST('{r5,vector:1}'::TEXT[] AS TEXT[])) WITH ORDINALITY AS near(distance, name, position) 
WHERE near.distance IS NOT NULL ORDER BY near.distance, near.position 
 LIMIT 1) AS nearest_anchor 
FROM pgsim.data_row AS r JOIN pgsim.embedding_1 AS e ON e.data_row_id = r.id 
WHERE r.workspace_id = 1::BIGINT AND least(e.vector <+> (SELECT embedding_1_1.vector 
FROM pgsim.embedding_1 AS embedding_1_1 
WHERE embedding_1_1.data_row_id = 'r5'::VARCHAR), e.vector <+> CAST('[10.0,10.0,10.0,10.0,10.0,10.0,10.0,10.0]' AS VECTOR)) <= (SELECT anon_1.farthest 
FROM pgsim.embedding_type AS embedding_type_3, pgsim.distance_bounds(0.25, 1.0, embedding_type_3.score_half, embedding_type_3.score_power) AS anon_1 
WHERE embedding_type_3.id = 1::BIGINT) AND CASE WHEN (jsonb_typeof(r.metadata -> 'n'::VARCHAR) = 'number') THEN CAST(r.metadata -> 'n'::VARCHAR AS NUMERIC) END < 17
limit case when (select b.state = 'kept' from pgsim.slice_neighbourhood b where b.slice_id = 7 and b.revision = 3) then 0 end)
) u
where (NOT (EXISTS (SELECT 1 
FROM ws_default.few 
WHERE ws_default.few.data_row_id = (u.id))))

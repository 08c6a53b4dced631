with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(centroid)b) as distance
    from pgsim.embedding_7 e
    order by (((e.vector) operator(public.*) array_fill((2::float8 ^ (-20))::real, array[16])::public.vector)::public.halfvec(16)) <+> (((%(centroid)b) operator(public.*) array_fill((2::float8 ^ (-20))::real, array[16])::public.vector)::public.halfvec(16))
    limit 21
)
select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, n.nearest as nearest,
    null, null, null, null,
    (select concat_ws('/', t.xmin, x.xmin) from pgsim.embedding_type t join pgsim.workspace x on x.id = t.workspace_id
        where t.id = 7) as version
from (
    select c.data_row_id, c.distance as distance
    from walk0 c
    where true
    order by distance, data_row_id
    limit 11
) s
left join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
left join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <+> %(p0)b), (v.vector <+> %(p1)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n on true
order by s.distance, s.data_row_id

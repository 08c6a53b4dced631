with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(centroid)b) as distance
    from pgsim.embedding_7 e
    order by (((e.vector) operator(public.*) array_fill((2::float8 ^ (-20))::real, array[16])::public.vector)::public.halfvec(16)) <+> (((%(centroid)b) operator(public.*) array_fill((2::float8 ^ (-20))::real, array[16])::public.vector)::public.halfvec(16))
    limit 21
),
found as (
    select c.data_row_id, c.distance as distance
    from walk0 c
    order by distance, data_row_id
    limit 11
)
select s.data_row_id, s.distance, n.nearest as nearest,
    null as ended,
    null, null,
    null as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
left join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
left join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <+> %(p0)b), (v.vector <+> %(p1)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n on true
order by s.distance, s.data_row_id

with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit 21
),
found as (
    select c.data_row_id, c.distance as distance
    from walk0 c
    order by distance, data_row_id
    limit 11
)
select s.data_row_id, s.distance, 0 as nearest,
    null as ended,
    null, null,
    null as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
order by s.distance, s.data_row_id

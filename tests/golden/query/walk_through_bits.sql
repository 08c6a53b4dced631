with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by (pgsim.compact_7(e.vector)::bit(16)) <~> (pgsim.compact_7(%(p0)b)::bit(16))
    limit 200
),
found as (
    select c.data_row_id, c.distance as distance
    from walk0 c
    where c.distance <= %(farthest)s
    order by distance, data_row_id
    limit 11
)
select s.data_row_id, s.distance, 0 as nearest,
    null as ended,
    null, null, q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
order by s.distance, s.data_row_id

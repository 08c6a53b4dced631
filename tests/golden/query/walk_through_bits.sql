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
    null, null,
    (
        select case
            when w.distance > %(own0)s then true
            when w.distance > %(usual)s then pgsim.astray(7, %(p0)b, w.distance)
            else false
        end
        from (select min(x.distance) as distance from (select * from walk0 limit 200) x) w
    ) as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
order by s.distance, s.data_row_id

with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit (select 1024)
),
seen0 as materialized (
    select x.*
    from (
        select w.data_row_id, w.distance,
            count(*) filter (where w.distance > %(farthest)s) over (rows unbounded preceding) as beyond
        from walk0 w
    ) x
    where x.beyond <= 20
),
kept0 as materialized (
    select c.data_row_id, c.distance, c.beyond
    from seen0 c
    cross join lateral (
        select from pgsim.data_row r
        where r.id = c.data_row_id
            and r.workspace_id = %(workspace_id)s
            and (r.dataset = %(dataset_1)s)
        offset 0
    ) r
    limit 21
),
found as (
    select c.data_row_id, c.distance as distance
    from kept0 c
    where c.distance <= %(farthest)s
    order by distance, data_row_id
    limit 11
)
select s.data_row_id, s.distance, 0 as nearest,
    case when (select count(*) from found) < 11 then (select coalesce(min(beyond), 0) >= 20 from (select max(beyond) as beyond from seen0) ends) end as ended,
    o.data_row_id, o.distance,
    (
        select case
            when w.distance > %(own0)s then true
            when w.distance > %(usual)s then pgsim.astray(7, %(p0)b, w.distance)
            else false
        end
        from (select min(x.distance) as distance from (select * from walk0 limit 20) x) w
    ) as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
left join (
    select c.data_row_id, c.distance as distance
    from kept0 c
    where c.distance > %(farthest)s
    order by distance, data_row_id
    limit 1
) o on true
order by s.distance, s.data_row_id

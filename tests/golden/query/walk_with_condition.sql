with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit (select 512)
),
kept0 as materialized (
    select c.data_row_id, c.distance
    from walk0 c
    cross join lateral (
        select from pgsim.data_row r
        where r.id = c.data_row_id
            and r.workspace_id = %(workspace_id)s
            and (r.dataset = %(dataset_1)s)
        offset 0
    ) r
    where c.data_row_id <> all(%(excluded)s)
    limit 16
),
found as (
    select c.data_row_id, c.distance as distance
    from kept0 c
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
        from (select min(x.distance) as distance from (select * from walk0 limit 20) x) w
    ) as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
order by s.distance, s.data_row_id

with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance,
        (e.vector <+> %(n0)b) >= least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as kept
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit (select 1024)
),
seen0 as materialized (
    select x.*
    from (
        select w.data_row_id, w.distance, w.kept,
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
    where c.data_row_id <> all(%(excluded)s) and c.kept
    limit 151
),
walk1 as materialized (
    select e.data_row_id, (e.vector <+> %(p1)b) as distance,
        (e.vector <+> %(n0)b) >= least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as kept
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p1)b)::public.halfvec(512))
    limit (select 1024)
),
seen1 as materialized (
    select x.*
    from (
        select w.data_row_id, w.distance, w.kept,
            count(*) filter (where w.distance > %(farthest)s) over (rows unbounded preceding) as beyond
        from walk1 w
    ) x
    where x.beyond <= 20
),
kept1 as materialized (
    select c.data_row_id, c.distance, c.beyond
    from seen1 c
    cross join lateral (
        select from pgsim.data_row r
        where r.id = c.data_row_id
            and r.workspace_id = %(workspace_id)s
            and (r.dataset = %(dataset_1)s)
        offset 0
    ) r
    where c.data_row_id <> all(%(excluded)s) and c.kept
    limit 151
),
last_place as materialized (
    select coalesce((
        select p.distance
        from (
            select u.data_row_id, min(u.distance) as distance
            from ((select data_row_id, distance from kept0 limit 76) union all (select data_row_id, distance from kept1 limit 76)) u
            group by u.data_row_id
        ) p
        order by p.distance
        offset 100
        limit 1
    ), 'infinity') as distance
),
close0 as (
    select x.data_row_id, x.distance
    from (
        select c.data_row_id, c.distance,
            count(*) filter (where c.distance > p.distance) over (rows unbounded preceding) as beyond
        from kept0 c
        cross join last_place p
    ) x
    where x.beyond <= 20
),
close1 as (
    select x.data_row_id, x.distance
    from (
        select c.data_row_id, c.distance,
            count(*) filter (where c.distance > p.distance) over (rows unbounded preceding) as beyond
        from kept1 c
        cross join last_place p
    ) x
    where x.beyond <= 20
),
near as materialized (
    select u.data_row_id, min(u.distance) as distance
    from (select data_row_id, distance from close0 union all select data_row_id, distance from close1) u
    group by u.data_row_id
    order by distance, data_row_id
    limit 128
),
found as (
    select c.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as distance
    from near c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) <= %(farthest)s
    order by distance, data_row_id
    limit 101
)
select s.data_row_id, s.distance, n.nearest as nearest,
    case when (select count(*) from found) < 101 then (select coalesce(min(beyond), 0) >= 20 from (select max(beyond) as beyond from seen0 union all select max(beyond) as beyond from seen1) ends) end as ended,
    o.data_row_id, o.distance,
    (
        select case
            when w.distance > %(own0)s then true
            when w.distance > %(usual)s then pgsim.astray(7, %(p0)b, w.distance)
            else false
        end
        from (select min(x.distance) as distance from (select * from walk0 limit 20) x) w
    ) or (
        select case
            when w.distance > %(own1)s then true
            when w.distance > %(usual)s then pgsim.astray(7, %(p1)b, w.distance)
            else false
        end
        from (select min(x.distance) as distance from (select * from walk1 limit 20) x) w
    ) as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
left join (
    select c.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as distance
    from near c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) > %(farthest)s
    order by distance, data_row_id
    limit 1
) o on true
left join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
left join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <+> %(p0)b), (v.vector <+> %(p1)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n on true
order by s.distance, s.data_row_id

with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit 126
),
walk1 as materialized (
    select e.data_row_id, (e.vector <+> %(p1)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p1)b)::public.halfvec(512))
    limit 126
),
walk2 as materialized (
    select e.data_row_id, (e.vector <+> %(p2)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p2)b)::public.halfvec(512))
    limit 126
),
last_place as materialized (
    select coalesce((
        select p.distance
        from (
            select u.data_row_id, min(u.distance) as distance
            from ((select data_row_id, distance from walk0 limit 51) union all (select data_row_id, distance from walk1 limit 51) union all (select data_row_id, distance from walk2 limit 51)) u
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
        from walk0 c
        cross join last_place p
    ) x
    where x.beyond <= 20
),
close1 as (
    select x.data_row_id, x.distance
    from (
        select c.data_row_id, c.distance,
            count(*) filter (where c.distance > p.distance) over (rows unbounded preceding) as beyond
        from walk1 c
        cross join last_place p
    ) x
    where x.beyond <= 20
),
close2 as (
    select x.data_row_id, x.distance
    from (
        select c.data_row_id, c.distance,
            count(*) filter (where c.distance > p.distance) over (rows unbounded preceding) as beyond
        from walk2 c
        cross join last_place p
    ) x
    where x.beyond <= 20
),
near as materialized (
    select u.data_row_id, min(u.distance) as distance
    from (select data_row_id, distance from close0 union all select data_row_id, distance from close1 union all select data_row_id, distance from close2) u
    group by u.data_row_id
    order by distance, data_row_id
    limit 128
),
found as (
    select c.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b), (e.vector <+> %(p2)b)) as distance
    from near c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    order by distance, data_row_id
    limit 101
)
select s.data_row_id, s.distance, n.nearest as nearest,
    null as ended,
    null, null,
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
    ) or (
        select case
            when w.distance > %(own2)s then true
            when w.distance > %(usual)s then pgsim.astray(7, %(p2)b, w.distance)
            else false
        end
        from (select min(x.distance) as distance from (select * from walk2 limit 20) x) w
    ) as astray,
    q.version
from (select (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version) q
left join found s on true
left join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
left join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <+> %(p0)b), (v.vector <+> %(p1)b), (v.vector <+> %(p2)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n on true
order by s.distance, s.data_row_id

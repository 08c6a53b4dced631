with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit 21
),
walk1 as materialized (
    select e.data_row_id, (e.vector <+> %(p1)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p1)b)::public.halfvec(512))
    limit 21
),
near as materialized (
    select c.data_row_id, c.distance
    from (
        select data_row_id, min(distance) as distance from (table walk0 union all table walk1) u group by data_row_id
    ) c
    where true
    order by distance, data_row_id
    limit 21
)
select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, n.nearest as nearest,
    w.seen, w.reach, o.data_row_id, o.distance,
    (select concat_ws('/', t.xmin, x.xmin) from pgsim.embedding_type t join pgsim.workspace x on x.id = t.workspace_id
        where t.id = 7) as version
from (select min(seen) as seen, min(reach) as reach from (select count(*) as seen, max(distance) as reach from walk0 union all select count(*) as seen, max(distance) as reach from walk1) ends) w
left join (
    select c.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as distance
    from near c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) <= %(farthest)s
    order by distance, data_row_id
    limit 11
) s on true
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

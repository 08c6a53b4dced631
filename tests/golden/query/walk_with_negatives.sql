with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit 21
)
select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, 0 as nearest,
    w.seen, w.reach, o.data_row_id, o.distance,
    (select concat_ws('/', t.xmin, x.xmin) from pgsim.embedding_type t join pgsim.workspace x on x.id = t.workspace_id
        where t.id = 7) as version
from (select min(seen) as seen, min(reach) as reach from (select count(*) as seen, max(distance) as reach from walk0) ends) w
left join (
    select c.data_row_id, (e.vector <+> %(p0)b) as distance
    from walk0 c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where (e.vector <+> %(p0)b) <= %(farthest)s
        and least((e.vector <+> %(n0)b), (e.vector <+> %(n1)b)) >= (e.vector <+> %(p0)b)
    order by distance, data_row_id
    limit 11
) s on true
left join (
    select c.data_row_id, (e.vector <+> %(p0)b) as distance
    from walk0 c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where (e.vector <+> %(p0)b) > %(farthest)s and least((e.vector <+> %(n0)b), (e.vector <+> %(n1)b)) >= (e.vector <+> %(p0)b)
    order by distance, data_row_id
    limit 1
) o on true
order by s.distance, s.data_row_id

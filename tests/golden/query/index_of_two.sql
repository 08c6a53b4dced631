select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, n.nearest as nearest
from (
    select e.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as distance
    from ((select e.data_row_id from pgsim.embedding_7 e order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512)) limit %(candidates)s)
        union (select e.data_row_id from pgsim.embedding_7 e order by ((e.vector)::public.halfvec(512)) <+> ((%(p1)b)::public.halfvec(512)) limit %(candidates)s)) c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) <= %(farthest)s
    order by distance, data_row_id
    limit %(limit)s
) s
join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
cross join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <+> %(p0)b), (v.vector <+> %(p1)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n
order by s.distance, s.data_row_id

select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, 0 as nearest
from (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from ((select e.data_row_id from pgsim.embedding_7 e order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512)) limit %(candidates)s)) c
    join pgsim.embedding_7 e on e.data_row_id = c.data_row_id
    where (e.vector <+> %(p0)b) <= %(farthest)s
    order by distance, data_row_id
    limit %(limit)s
) s
order by s.distance, s.data_row_id

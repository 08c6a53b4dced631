select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, 0 as nearest
from (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    where (e.vector <+> %(p0)b) <= %(farthest)s
    order by distance, data_row_id
    limit 11
) s
order by s.distance, s.data_row_id

select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, 0 as nearest
from (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    where (e.vector <+> %(p0)b) <= %(farthest)s
        and ((e.vector <+> %(p0)b) < %(after_distance)s or (e.vector <+> %(p0)b) = %(after_distance)s and e.data_row_id > %(after_id)s)
    order by distance desc, data_row_id
    limit 11
) s
order by s.distance desc, s.data_row_id

select e.data_row_id, (e.vector <+> %(p0)b) as distance, 0 as nearest, (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version
from pgsim.embedding_7 e
where (e.vector <+> %(p0)b) <= %(farthest)s
    and ((e.vector <+> %(p0)b) < %(after_distance)s or (e.vector <+> %(p0)b) = %(after_distance)s and e.data_row_id > %(after_id)s)
order by distance desc, data_row_id
limit 11

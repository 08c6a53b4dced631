select e.data_row_id, (e.vector <+> %(p0)b) as distance, 0 as nearest, (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version
from pgsim.embedding_7 e
where (e.vector <+> %(p0)b) <= %(farthest)s
order by distance, data_row_id
limit 11

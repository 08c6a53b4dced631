select e.data_row_id, (e.vector <+> %(p0)b) as distance
from pgsim.embedding_7 e
where (e.vector <+> %(p0)b) > %(farthest)s
order by distance, data_row_id
limit 1

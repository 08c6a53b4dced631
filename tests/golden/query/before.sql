select e.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as distance
from pgsim.embedding_7 e
where least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) < %(closest)s
order by distance desc, data_row_id
limit 1

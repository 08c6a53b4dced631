select count(*)
from pgsim.embedding_7 e
join pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id
where r.workspace_id = %(workspace_id)s
    and (r.dataset = %(dataset_1)s)
    and least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) <= %(farthest)s
    and (e.vector <+> %(n0)b) >= least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b))

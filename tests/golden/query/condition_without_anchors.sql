select e.data_row_id, (e.vector <+> %(p0)b) as distance, 0 as nearest, (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version
from pgsim.embedding_7 e
join pgsim.data_row r on r.workspace_id = e.workspace_id and r.id = e.data_row_id
where r.workspace_id = %(workspace_id)s
    and (r.dataset = %(dataset_1)s)
    and e.data_row_id <> all(%(excluded)s)
    and (e.vector <+> %(p0)b) <= %(farthest)s
order by distance, data_row_id
limit 11

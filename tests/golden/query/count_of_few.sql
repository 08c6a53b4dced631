select count(*)
from pgsim.embedding_7 e
where e.data_row_id = any(array(
        select r.id from pgsim.data_row r
        where r.workspace_id = %(workspace_id)s
        and (r.dataset = %(dataset_1)s)
    ))

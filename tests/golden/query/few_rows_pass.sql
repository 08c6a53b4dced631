select s.data_row_id, s.distance, n.nearest as nearest, s.version
from (
select e.data_row_id, least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) as distance, (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version
from pgsim.embedding_7 e
where e.data_row_id = any(array(
        select r.id from pgsim.data_row r
        where r.workspace_id = %(workspace_id)s
        and (r.dataset = %(dataset_1)s)
    ))
    and e.data_row_id <> all(%(excluded)s)
    and least((e.vector <+> %(p0)b), (e.vector <+> %(p1)b)) <= %(farthest)s
order by distance, data_row_id
limit 11
) s
left join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
left join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <+> %(p0)b), (v.vector <+> %(p1)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n on true
order by s.distance, s.data_row_id

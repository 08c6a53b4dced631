select s.data_row_id, s.distance, n.nearest as nearest, s.version
from (
select e.data_row_id, ((e.vector <-> %(p0)b) + (e.vector <-> %(p1)b)) / 2 as distance, (select pgsim.versions(%(type_place)s::tid, 7, %(workspace_place)s::tid)) as version
from pgsim.embedding_7 e
where ((e.vector <-> %(p0)b) + (e.vector <-> %(p1)b)) / 2 <= %(farthest)s
    and ((e.vector <-> %(p0)b) + (e.vector <-> %(p1)b)) / 2 >= %(closest)s
order by distance, data_row_id
limit 11
) s
left join pgsim.embedding_7 v on v.data_row_id = s.data_row_id
left join lateral (
    select x.position - 1 as nearest
    from unnest(array[(v.vector <-> %(p0)b), (v.vector <-> %(p1)b)]) with ordinality x (distance, position)
    order by x.distance, x.position
    limit 1
) n on true
order by s.distance, s.data_row_id

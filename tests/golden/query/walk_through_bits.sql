with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    order by (pgsim.compact_7(e.vector)::bit(16)) <~> (pgsim.compact_7(%(p0)b)::bit(16))
    limit 200
)
select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, 0 as nearest,
    null, null, null, null,
    (select concat_ws('/', t.xmin, x.xmin) from pgsim.embedding_type t join pgsim.workspace x on x.id = t.workspace_id
        where t.id = 7) as version
from (
    select c.data_row_id, c.distance as distance
    from walk0 c
    where c.distance <= %(farthest)s
    order by distance, data_row_id
    limit 11
) s
order by s.distance, s.data_row_id

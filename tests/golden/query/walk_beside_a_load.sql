with walk0 as materialized (
    select e.data_row_id, (e.vector <+> %(p0)b) as distance
    from pgsim.embedding_7 e
    where e.load_mark is distinct from 4102
    order by ((e.vector)::public.halfvec(512)) <+> ((%(p0)b)::public.halfvec(512))
    limit 21
)
select s.data_row_id, s.distance, pgsim.score(s.distance, %(half)s, %(power)s) as score, 0 as nearest,
    null, null, null, null,
    (select concat_ws('/', t.xmin, x.xmin) from pgsim.embedding_type t join pgsim.workspace x on x.id = t.workspace_id
        where t.id = 7) as version
from (
    select c.data_row_id, c.distance as distance
    from walk0 c
    where true
    order by distance, data_row_id
    limit 11
) s
order by s.distance, s.data_row_id

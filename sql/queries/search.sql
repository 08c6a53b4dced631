-- name: type_for_search
select
    {columns}, concat_ws('/', t.xmin, w.xmin) as version, t.ctid::text as type_place, w.ctid::text as workspace_place,
    w.max_anchors, w.min_vectors,
    (select c.reltuples from pg_catalog.pg_class c where c.oid = to_regclass('pgsim.embedding_' || t.id)) as vectors,
    (select c.reltuples from pg_catalog.pg_class c where c.oid = 'pgsim.data_row'::regclass) as data_rows
from pgsim.embedding_type t
join pgsim.workspace w on w.id = t.workspace_id
where t.workspace_id = %(workspace_id)s and (t.name = %(name)s or t.id::text = %(name)s)
order by t.name = %(name)s desc
limit 1;

-- name: anchor_vectors
select a.id, e.vector, r.id is not null
from unnest(%(ids)s::text[]) a (id)
left join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = a.id collate "C"
left join {partition} e on e.data_row_id = a.id collate "C";

-- name: workspace_version
select xmin::text from pgsim.workspace where id = %(workspace_id)s;

-- name: types_of_names
select id from pgsim.embedding_type where workspace_id = %(workspace_id)s and name = any(%(names)s) order by name;

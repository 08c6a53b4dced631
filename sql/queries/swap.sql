-- name: lock_swapped_types
-- As one who deletes them; no index is built, and no score calibrated, until the transaction ends.
select {columns} from pgsim.embedding_type where id = any(%(ids)s) order by id for update;

-- name: lock_slices_of_type
select {columns}
from pgsim.slice s
left join pgsim.slice_neighbourhood b on b.slice_id = s.id
where s.id in (select t.slice_id from pgsim.slice_embedding_type t where t.embedding_type_id = %(embedding_type_id)s)
order by s.id
for update of s;

-- name: anchors_of_type
select distinct data_row_id from pgsim.slice_anchor where embedding_type_id = %(embedding_type_id)s;

-- name: stop_writers
select pgsim.stop_writers(%(embedding_type_id)s);

-- name: compare_types
-- Data rows that have a vector of the first type and none of the second, some of them, and the other way round.
with lacking as (
    select o.data_row_id from {old} o where not exists (select from {new} n where n.data_row_id = o.data_row_id)
)
select
    (select count(*) from {old}),
    (select count(*) from {new}),
    (select count(*) from lacking),
    array(select l.data_row_id from lacking l order by l.data_row_id limit %(told)s);

-- name: names_of_types
select name from pgsim.embedding_type where workspace_id = %(workspace_id)s;

-- name: rename_embedding_type
update pgsim.embedding_type set name = %(name)s where id = %(embedding_type_id)s;

-- name: stored_ids
select data_row_id from {partition} where data_row_id = any(%(ids)s);

-- name: insert_slice
insert into pgsim.slice (workspace_id, name, description, definition)
values (%(workspace_id)s, %(name)s, %(description)s, %(definition)s)
returning {columns};

-- name: update_slice_definition
update pgsim.slice set definition = %(definition)s where id = %(slice_id)s;

-- name: list_slices
select {columns} from pgsim.slice where workspace_id = %(workspace_id)s order by name;

-- name: find_slice
select {columns}
from pgsim.slice
where workspace_id = %(workspace_id)s and (name = %(name)s or id::text = %(name)s)
order by name = %(name)s desc
limit 1;

-- name: lock_slice
select id from pgsim.slice where id = %(slice_id)s for update;

-- name: insert_slice_use
insert into pgsim.slice_use (slice_id, used_slice_id) values (%(slice_id)s, %(used_slice_id)s) on conflict do nothing;

-- name: touch_embedding_type
-- Writers whose snapshot is older than a new slice must notice it, see pgsim.guard_anchor().
update pgsim.embedding_type set state = state where id = %(embedding_type_id)s;

-- name: clear_slice_dependencies
with anchors as (delete from pgsim.slice_anchor where slice_id = %(slice_id)s),
uses as (delete from pgsim.slice_use where slice_id = %(slice_id)s)
delete from pgsim.slice_embedding_type where slice_id = %(slice_id)s;

-- name: insert_slice_embedding_type
insert into pgsim.slice_embedding_type (slice_id, embedding_type_id) values (%(slice_id)s, %(embedding_type_id)s)
on conflict do nothing;

-- name: insert_slice_anchors
insert into pgsim.slice_anchor (slice_id, embedding_type_id, workspace_id, data_row_id)
select %(slice_id)s, %(embedding_type_id)s, %(workspace_id)s, unnest(%(ids)s::text[])
on conflict do nothing;

-- name: lock_anchor_embeddings
-- A session that deletes one of them waits for this one, and then finds the anchor.
select data_row_id from {partition} where data_row_id = any(%(ids)s) order by data_row_id for key share;

-- name: find_slice_id
select id, name from pgsim.slice
where workspace_id = %(workspace_id)s and (name = %(name)s or id::text = %(name)s)
order by name = %(name)s desc
limit 1;

-- name: slices_of_anchors
select distinct slice_id from pgsim.slice_anchor
where workspace_id = %(workspace_id)s and data_row_id = any(%(ids)s)
order by slice_id;

-- name: stored_vectors
select data_row_id, vector from {partition} where data_row_id = any(%(ids)s);

-- name: lock_slices_on_field
select {columns} from pgsim.slice
where id in (select s.id from pgsim.slices_on_field(%(workspace_id)s, %(field)s) s)
order by name
for update;

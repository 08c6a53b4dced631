-- name: insert_slice
insert into pgsim.slice (workspace_id, name, description, definition)
values (%(workspace_id)s, %(name)s, %(description)s, %(definition)s)
returning id;

-- name: update_slice
update pgsim.slice
set definition = %(definition)s, description = coalesce(%(description)s, description), revision = revision + 1
where id = %(slice_id)s
returning revision;

-- name: rename_slice
update pgsim.slice set name = %(name)s where id = %(slice_id)s;

-- name: list_slices
select {columns}
from pgsim.slice s
left join pgsim.slice_neighbourhood b on b.slice_id = s.id
where s.workspace_id = %(workspace_id)s
order by s.name;

-- name: find_slice
select {columns}
from pgsim.slice s
left join pgsim.slice_neighbourhood b on b.slice_id = s.id
where s.workspace_id = %(workspace_id)s and (s.name = %(name)s or s.id::text = %(name)s)
order by s.name = %(name)s desc
limit 1;

-- name: get_slice
select {columns}
from pgsim.slice s
left join pgsim.slice_neighbourhood b on b.slice_id = s.id
where s.id = %(slice_id)s;

-- name: lock_slice
select id from pgsim.slice where id = %(slice_id)s for update;

-- name: insert_slice_use
insert into pgsim.slice_use (slice_id, used_slice_id) values (%(slice_id)s, %(used_slice_id)s) on conflict do nothing;

-- name: clear_slice_dependencies
with anchors as (delete from pgsim.slice_anchor where slice_id = %(slice_id)s),
uses as (delete from pgsim.slice_use where slice_id = %(slice_id)s),
batches as (delete from pgsim.slice_batch where slice_id = %(slice_id)s),
runs as (delete from pgsim.slice_cluster_run where slice_id = %(slice_id)s)
delete from pgsim.slice_embedding_type where slice_id = %(slice_id)s;

-- name: insert_slice_anchors
insert into pgsim.slice_anchor (slice_id, embedding_type_id, workspace_id, data_row_id)
select %(slice_id)s, %(embedding_type_id)s, %(workspace_id)s, unnest(%(ids)s::text[])
on conflict do nothing;

-- name: lock_anchor_embeddings
-- A session that deletes one of them waits for this one, and then finds the anchor.
select data_row_id from {partition} where data_row_id = any(%(ids)s) order by data_row_id for key share;

-- name: mark_edits
select pgsim.mark_edits(%(slice_id)s);

-- name: define_neighbourhood
select pgsim.define_neighbourhood(
    %(slice_id)s, %(embedding_type_id)s, %(combine)s, %(min_score)s, %(max_score)s, %(exclude_anchors)s, %(live)s,
    %(rows)s::text[], %(vectors)s::text[], %(positives)s, %(cause)s
);

-- name: drop_neighbourhood
select pgsim.drop_neighbourhood(%(slice_id)s);

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
select {columns}
from pgsim.slice s
left join pgsim.slice_neighbourhood b on b.slice_id = s.id
where s.id in (select f.id from pgsim.slices_on_field(%(workspace_id)s, %(field)s) f)
order by s.name
for update of s;

-- name: slice_members
-- A page of a kept slice; no row at all where it is not kept, was edited, or under other constants than the cursor's.
select f.data_row_id, f.distance, f.nearest_anchor, b.half, b.power, b.total
from (
    select
        t.score_half as half, t.score_power as power,
        case when %(count)s then (
            select count(*)
            from pgsim.slice_match m
            join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = m.data_row_id
            where m.slice_id = n.slice_id and {condition}
        ) end as total
    from pgsim.slice_neighbourhood n
    join pgsim.embedding_type t on t.id = n.embedding_type_id
    where n.slice_id = %(slice_id)s and n.state = 'kept' and n.revision = %(revision)s
        and (%(half)s::float8 is null or (t.score_half, t.score_power) = (%(half)s, %(power)s))
) b
left join lateral (
    select m.data_row_id, m.distance, m.nearest_anchor
    from pgsim.slice_match m
    join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = m.data_row_id
    where m.slice_id = %(slice_id)s and {condition}
        and (%(half)s::float8 is null or (m.distance, m.data_row_id) > (%(after_distance)s, %(after_id)s))
    order by m.distance, m.data_row_id
    limit %(limit)s
) f on true
order by f.distance, f.data_row_id;

-- name: slice_history
select h.id, h.data_row_id, h.change, h.cause, h.at, h.transaction
from (
    select c.id, c.data_row_id, case when c.entered then 'entered' else 'left' end as change, c.cause, c.at, c.transaction
    from pgsim.slice_change c
    where c.slice_id = %(slice_id)s and (%(since)s::timestamptz is null or c.at >= %(since)s)
    order by c.at desc, c.id desc
    limit %(limit)s
) h
order by h.at, h.id;

-- name: forget_slice_history
delete from pgsim.slice_change where slice_id = %(slice_id)s and at < %(before)s;

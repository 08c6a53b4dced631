-- name: create_chosen_rows
-- The rows that an action is for, in the order in which they were chosen.
create temp table chosen_row (
    position bigint not null, data_row_id text collate "C" not null, score float8, nearest_anchor text
) on commit drop;

-- name: hold_slice
-- Whoever would edit or delete it waits until the rows were read.
select name, definition from pgsim.slice where id = %(id)s for key share;

-- name: hold_batch
select from pgsim.batch where id = %(id)s for key share;

-- name: copy_chosen_rows
copy pg_temp.chosen_row (position, data_row_id, score, nearest_anchor) from stdin;

-- name: choose_rows
-- From whatever has the columns of a slice's view.
insert into pg_temp.chosen_row (position, data_row_id, score, nearest_anchor)
select row_number() over (order by v.score desc nulls last, v.data_row_id collate "C"), v.data_row_id, v.score,
    v.nearest_anchor
from {rows} v;

-- name: choose_every_row
insert into pg_temp.chosen_row (position, data_row_id)
select row_number() over (order by id), id from pgsim.data_row where workspace_id = %(workspace_id)s;

-- name: drop_repeated_rows
with first as (
    select data_row_id, min(position) as position from pg_temp.chosen_row group by data_row_id having count(*) > 1
)
delete from pg_temp.chosen_row c using first f where c.data_row_id = f.data_row_id and c.position > f.position;

-- name: list_unknown_rows
select c.data_row_id
from pg_temp.chosen_row c
where not exists (select from pgsim.data_row r where r.workspace_id = %(workspace_id)s and r.id = c.data_row_id)
order by c.position
limit %(limit)s;

-- name: drop_unknown_rows
delete from pg_temp.chosen_row c
where not exists (select from pgsim.data_row r where r.workspace_id = %(workspace_id)s and r.id = c.data_row_id);

-- name: count_chosen_rows
select count(*) from pg_temp.chosen_row;

-- name: lock_chosen_rows
-- In one order, so that two sessions that change the same rows do not wait for each other.
select count(*)
from (
    select
    from pgsim.data_row r
    where r.workspace_id = %(workspace_id)s and r.id in (select c.data_row_id from pg_temp.chosen_row c)
    order by r.id
    for no key update
) l;

-- name: set_locked_rows_aside
alter table pg_temp.chosen_row rename to locked_row;

-- name: drop_rows_not_locked
delete from pg_temp.chosen_row c
where not exists (select from pg_temp.locked_row l where l.data_row_id = c.data_row_id);

-- name: count_metadata_changes
select count(*), count(*) filter (
    where (r.metadata || %(values)s::jsonb) - %(removed)s::text[] is distinct from r.metadata
)
from pgsim.data_row r
join pg_temp.chosen_row c on c.data_row_id = r.id
where r.workspace_id = %(workspace_id)s;

-- name: change_metadata
update pgsim.data_row r
set metadata = (r.metadata || %(values)s::jsonb) - %(removed)s::text[]
from pg_temp.chosen_row c
where r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
    and (r.metadata || %(values)s::jsonb) - %(removed)s::text[] is distinct from r.metadata;

-- name: select_randomly
-- A row's lot is a hash of seed and id: whatever the order in which rows lie, the same seed draws the same ones.
select c.data_row_id, c.score, null::int as cluster
from pg_temp.chosen_row c
order by sha256(convert_to(%(seed)s || ':' || c.data_row_id, 'UTF8')), c.data_row_id
limit %(count)s;

-- name: select_in_order
select c.data_row_id, c.score, null::int as cluster
from pg_temp.chosen_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
order by {order}, c.data_row_id
limit %(count)s;

-- name: count_chosen_vectors
select count(*) from pg_temp.chosen_row c join {partition} e on e.data_row_id = c.data_row_id;

-- name: chosen_vectors
-- By id, so that the same vectors come together each time: sums of many numbers are rounded by their place.
select c.data_row_id, e.vector
from pg_temp.chosen_row c
join {partition} e on e.data_row_id = c.data_row_id
order by c.data_row_id;

-- name: labelled_vectors
select c.data_row_id, e.vector, {label}
from pg_temp.chosen_row c
join {partition} e on e.data_row_id = c.data_row_id
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
order by c.data_row_id;

-- name: sampled_vectors
select c.data_row_id, e.vector
from (
    select c.data_row_id, sha256(convert_to(%(seed)s || ':' || c.data_row_id, 'UTF8')) as lot
    from pg_temp.chosen_row c
    where exists (select from {partition} e where e.data_row_id = c.data_row_id)
    order by lot, c.data_row_id
    limit %(limit)s
) c
join {partition} e on e.data_row_id = c.data_row_id
order by c.lot, c.data_row_id;

-- name: create_assigned_rows
create temp table assigned_row (data_row_id text collate "C" not null, cluster int not null, distance float8 not null)
on commit drop;

-- name: copy_assigned_rows
copy pg_temp.assigned_row (data_row_id, cluster, distance) from stdin;

-- name: count_clusters
-- The largest first.
select count(*) from pg_temp.assigned_row group by cluster order by count(*) desc, min(data_row_id);

-- name: select_from_clusters
-- The nearest to each centre first, then the second of each cluster, and so on; clusters by size.
with place as (
    select a.cluster, row_number() over (order by count(*) desc, min(a.data_row_id)) - 1 as number
    from pg_temp.assigned_row a
    group by a.cluster
),
turn as (
    select a.data_row_id, a.cluster,
        row_number() over (partition by a.cluster order by a.distance, a.data_row_id) as number
    from pg_temp.assigned_row a
)
select t.data_row_id, c.score, p.number::int as cluster
from turn t
join place p on p.cluster = t.cluster
join pg_temp.chosen_row c on c.data_row_id = t.data_row_id
order by t.number, p.number
limit %(count)s;

-- name: scores_of_chosen_rows
select c.data_row_id, c.score from pg_temp.chosen_row c where c.data_row_id = any(%(ids)s);

-- name: export_documents
-- Sorted as stored, and printed afterwards: what is sorted is a third as large, and long contents stay where they are.
select row_to_json(d)::text{printed}
from (
    select c.score, c.nearest_anchor, r.id, r.asset_type, r.uri, r.content, r.dataset, r.metadata, r.media, r.created_at,
        r.updated_at{stored}
    from pg_temp.chosen_row c
    join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
    {vectors}
    order by c.position, c.data_row_id
    offset 0
) s
cross join lateral (
    select s.id, s.asset_type, s.uri, s.content, s.dataset, s.metadata, s.media, s.created_at, s.updated_at{scores}
) d;

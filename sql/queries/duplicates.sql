-- name: keep_chosen_rows
-- So that the rows to compare them with can be chosen.
alter table pg_temp.chosen_row rename to first_row;

-- name: create_compared_rows
-- On which side a row is: 1, 2, or 3 for both; where there is one side only, every row is on both.
create temp table compared_row on commit drop as
select c.data_row_id, bit_or(c.side) as sides from ({chosen}) c group by c.data_row_id;

-- name: create_compared_vectors
-- Equal vectors are compared with others once, by the first of their rows.
create temp table compared_vector on commit drop as
select r.data_row_id, min(r.data_row_id) over equal as first, bit_or(r.sides) over equal as sides
from pg_temp.compared_row r
join {partition} e on e.data_row_id = r.data_row_id
window equal as (partition by e.vector);

-- name: index_compared_vectors
create unique index on pg_temp.compared_vector (data_row_id);

-- name: list_compared_vectors
select data_row_id, first, sides from pg_temp.compared_vector order by data_row_id;

-- name: close_pairs
-- Of some rows, with all others, or with those that come later.
select a.data_row_id, b.data_row_id, x.vector {operator} y.vector
from pg_temp.compared_vector a
join {partition} x on x.data_row_id = a.data_row_id
join pg_temp.compared_vector b
    on b.data_row_id = b.first and a.sides | b.sides = 3
    and (b.data_row_id > a.data_row_id or %(all)s and b.data_row_id < a.data_row_id)
join {partition} y on y.data_row_id = b.data_row_id
where a.data_row_id = any(%(ids)s) and x.vector {operator} y.vector <= %(farthest)s;

-- name: nearest_vectors
-- In the index's order, which only what the index covers can be read from, with each row's place in it; the distances are
-- those of the vectors as stored.
select a.data_row_id, n.data_row_id, n.distance, n.place
from unnest(%(ids)s::text[]) a (data_row_id)
join {partition} x on x.data_row_id = a.data_row_id
cross join lateral (
    select f.data_row_id, f.distance, row_number() over () as place
    from (
        select e.data_row_id, e.vector {operator} x.vector as distance
        from {partition} e
        where {covered}
        order by {theirs} {index_operator} {own}
        limit {limit}
    ) f
) n;

-- name: compared_contents
select r.id, r.content, c.sides
from pg_temp.compared_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
where r.content is not null
order by r.id;

-- name: count_compared_images
select count(*)
from pg_temp.compared_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
where r.asset_type = 'image';

-- name: compared_images
select r.id, r.uri, r.content, r.media, c.sides
from pg_temp.compared_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
where r.asset_type = 'image'
order by r.id;

-- name: equal_contents
select min(c.data_row_id) over equal, c.data_row_id
from pg_temp.compared_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
where r.content is not null
window equal as (partition by sha256(convert_to(r.content, 'UTF8')));

-- name: sides_of_rows
select data_row_id, sides from pg_temp.compared_row where data_row_id = any(%(ids)s);

-- name: ages_and_sizes
-- The size of an asset: its pixels where they are known, else the length of its content. What anybody may have written
-- there is brought within what can be multiplied.
select r.id, r.created_at, case
    when jsonb_typeof(r.media -> 'width') = 'number' and jsonb_typeof(r.media -> 'height') = 'number'
        then least(greatest((r.media ->> 'width')::numeric, 0), 1e9)::float8
            * least(greatest((r.media ->> 'height')::numeric, 0), 1e9)::float8
    else coalesce(octet_length(r.content), 0)
end
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)s);

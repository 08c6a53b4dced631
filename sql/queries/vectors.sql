-- name: try_lock_import
-- Two imports into one type would write the same rows in different orders.
select pg_try_advisory_xact_lock(%(key)s, %(embedding_type_id)s);

-- name: lock_import
select pg_advisory_xact_lock(%(key)s, %(embedding_type_id)s);

-- name: look_up_rows
-- Of some ids, those without a data row, and those with a vector. Data rows that are found stay until the import ends.
with known as (
    select r.id from pgsim.data_row r
    where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)b::text[])
    for key share
)
select
    array(select u.id from unnest(%(ids)b::text[]) u (id) where u.id not in (select k.id from known k)),
    array(select e.data_row_id from {partition} e where e.data_row_id = any(%(ids)b::text[]));

-- name: copy_vectors
copy {partition} ({columns}) from stdin (format binary);

-- name: upsert_vectors
with stored as (
    insert into {partition} as e (embedding_type_id, workspace_id, data_row_id, vector, load_mark)
    select %(embedding_type_id)s, %(workspace_id)s, unnest(%(ids)b::text[]), unnest(%(vectors)b), %(load_mark)s::bigint
    on conflict (data_row_id, embedding_type_id) do update
        set vector = excluded.vector, load_mark = excluded.load_mark
    returning (xmax = 0) as inserted
)
select count(*) filter (where inserted), count(*) filter (where not inserted) from stored;

-- name: store_row_vectors
-- Of a row's lines that have a vector of the type, the last counts; all but the first are updates.
with given as (
    select r.id, max(l.line) as line, count(*) as lines
    from pg_temp.import_line l
    join pg_temp.import_row r on r.line = l.line
    where r.reason is null and %(embedding_type_id)s = any(l.types)
    group by r.id
),
stored as (
    insert into {partition} as e (embedding_type_id, workspace_id, data_row_id, vector)
    select
        %(embedding_type_id)s, %(workspace_id)s, g.id,
        l.vectors[array_position(l.types, %(embedding_type_id)s)]
    from given g
    join pg_temp.import_line l on l.line = g.line
    order by g.id
    on conflict (data_row_id, embedding_type_id) do update set vector = excluded.vector
    returning (xmax = 0) as inserted
)
select s.inserted, g.lines - s.inserted
from (select count(*) filter (where inserted) as inserted from stored) s,
    (select coalesce(sum(lines), 0)::bigint as lines from given) g;

-- name: create_export_rows
create temporary table export_row (id text collate "C" not null) on commit drop;

-- name: choose_export_rows
insert into pg_temp.export_row (id)
select r.id from pgsim.data_row r where r.workspace_id = %(workspace_id)s and ({where});

-- name: find_index_settings
select index_scale from pgsim.embedding_type where id = %(embedding_type_id)s;

-- name: lock_for_calibration
-- Not against those who only need the type to stay: slices that are being made, data rows that are read.
select {columns} from pgsim.embedding_type where id = %(embedding_type_id)s for no key update;

-- name: min_vectors
select min_vectors from pgsim.workspace where id = %(workspace_id)s;

-- name: store_calibration
update pgsim.embedding_type
set score_half = %(half)s, score_power = %(power)s, calibration = %(calibration)s, state = 'searchable'
where id = %(embedding_type_id)s;

-- name: store_searchable
update pgsim.embedding_type set state = 'searchable' where id = %(embedding_type_id)s;

-- name: store_index
update pgsim.embedding_type
set
    index_operand = %(operand)s, index_scale = %(scale)s, index_kind = %(kind)s, unindexed_mark = %(mark)s,
    search_settings = %(settings)s
where id = %(embedding_type_id)s;

-- name: store_no_index
-- What the next one is to be stays.
update pgsim.embedding_type
set index_operand = null, index_scale = null, unindexed_mark = null,
    search_settings = (
        select coalesce(jsonb_object_agg(s.key, s.value), '{}')
        from jsonb_each(search_settings) s where s.key in ('target', 'm', 'ef_construction')
    )
where id = %(embedding_type_id)s;

-- name: index_progress
select tuples_done from pg_catalog.pg_stat_progress_create_index where pid = %(pid)s;

-- name: mean_vector
-- What a compact index is centred on.
select avg(vector) from {partition};

-- name: mean_direction
select avg(l2_normalize(vector)) from {partition};

-- name: estimated_embeddings
-- Without a lock on them.
select greatest(c.reltuples, 0) from pg_catalog.pg_class c where c.oid = to_regclass(%(partition)s);

-- name: replaced_indexes
select c.relname
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indrelid = to_regclass(%(partition)s) and c.relname like %(prefix)s;

-- name: replaced_functions
select p.proname
from pg_catalog.pg_proc p
where p.pronamespace = 'pgsim'::regnamespace and p.proname like %(prefix)s;

-- name: index_health
select
    coalesce(pg_relation_size(i.indexrelid), 0), coalesce(i.indisvalid, false), pg_total_relation_size(t.oid)
        - coalesce(pg_relation_size(i.indexrelid), 0), pg_stat_get_dead_tuples(t.oid)
from (select to_regclass(%(partition)s)::oid, to_regclass(%(index)s)::oid) t (oid, index)
left join pg_catalog.pg_index i on i.indexrelid = t.index;

-- name: partition_owner
select r.rolname
from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner
where c.oid = %(partition)s::regclass;

-- name: store_search_settings
-- Of the index that they were measured of; every index has another mark.
update pgsim.embedding_type
set search_settings = (search_settings - %(found)s::text[]) || %(settings)s
where id = %(embedding_type_id)s and unindexed_mark is not distinct from %(mark)s;

-- name: place_landmarks
select pgsim.place_landmarks(%(embedding_type_id)s, %(ids)s);

-- name: may_read_landmarks
select has_table_privilege('pgsim.landmark', 'select');

-- name: may_place_landmarks
select pgsim.may_place_landmarks();

-- name: landmark_vectors
select vector from pgsim.landmark where embedding_type_id = %(embedding_type_id)s;

-- name: astray
select pgsim.astray(%(embedding_type_id)s, %(anchor)b, %(met)s);

-- name: largest_norm
-- An upper bound of the largest magnitude, at a fraction of the cost of looking at every number.
select max(vector_norm(vector)) from {partition};

-- name: largest_magnitude
select max(abs(x)) from {partition} e, unnest(e.vector::real[]) x;

-- name: first_vectors
select vector from {partition} limit 100;

-- name: id_at
-- The id at a place in the order of ids.
select data_row_id from {partition} order by data_row_id offset %(offset)s limit 1;

-- name: keep_slices
select pgsim.keep_slices(%(embedding_type_id)s);

-- name: create_places
create temp table pgsim_place (data_row_id text collate "C" not null, place int not null);

-- name: forget_places
drop table if exists pg_temp.pgsim_place;

-- name: grant_places
grant select on pg_temp.pgsim_place to {owner};

-- name: wait_for_vectors
-- Longer than the server takes to stop its autovacuum for somebody who waits.
set local lock_timeout = '2s';

-- name: indexes_of_vectors
select c.relname
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_am a on a.oid = c.relam
where i.indrelid = to_regclass(%(partition)s) and a.amname <> 'btree';

-- name: copy_places
copy pg_temp.pgsim_place (data_row_id, place) from stdin (format binary);

-- name: index_places
create unique index on pg_temp.pgsim_place (data_row_id);

-- name: create_place_of
-- An index is over what does not change, and this does not while there is the index.
create or replace function pg_temp.pgsim_place_of(id text) returns int language plpgsql immutable as $$
begin
    return (select p.place from pg_temp.pgsim_place p where p.data_row_id = id collate "C");
end
$$;

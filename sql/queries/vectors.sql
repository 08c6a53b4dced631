-- name: create_vector_staging
create temporary table vector_staging (
    line bigint not null, id text collate "C" not null, vector {vector} not null
) on commit drop;

-- name: plain_vector_staging
-- In-line storage: vectors on their way through a temporary table should not visit its TOAST table.
alter table vector_staging alter column vector set storage plain;

-- name: copy_vector_staging
copy vector_staging (line, id, vector) from stdin (format binary);

-- name: index_vector_staging
create index on vector_staging (id, line);

-- name: analyze_vector_staging
analyze vector_staging (id, line);

-- name: reject_unknown_rows
delete from vector_staging s
where not exists (
    select from pgsim.data_row r where r.workspace_id = %(workspace_id)s and r.id = s.id
)
returning line, id;

-- name: reject_unindexable
-- Beyond half precision once scaled, or turned into zero by it.
delete from vector_staging s
where exists (
    select from unnest(s.vector::real[]) x
    where abs(x) > %(ceiling)s or (x <> 0 and %(scale)s < 1 and abs(x)::float8 * %(scale)s < 1e-45)
)
returning line, id;

-- name: drop_earlier_duplicates
with last as (
    select id, max(line) as line from vector_staging group by id having count(*) > 1
)
delete from vector_staging s using last where s.id = last.id and s.line < last.line;

-- name: lock_import
-- Two imports into one type would lock the same rows in different orders.
select pg_advisory_xact_lock(%(key)s, %(embedding_type_id)s);

-- name: upsert_vectors
with stored as (
    insert into {partition} as e (embedding_type_id, workspace_id, data_row_id, vector, load_mark)
    select %(embedding_type_id)s, %(workspace_id)s, id, vector, %(load_mark)s::bigint from vector_staging
    on conflict (data_row_id, embedding_type_id) do update
        set vector = excluded.vector, load_mark = excluded.load_mark
    returning (xmax = 0) as inserted
)
select count(*) filter (where inserted), count(*) filter (where not inserted) from stored;

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
update pgsim.embedding_type
set index_operand = null, index_scale = null, unindexed_mark = null, search_settings = '{}'
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
select pg_catalog.quote_ident(r.rolname)
from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner
where c.oid = %(partition)s::regclass;

-- name: store_search_settings
update pgsim.embedding_type
set search_settings = %(settings)s
where id = %(embedding_type_id)s;

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

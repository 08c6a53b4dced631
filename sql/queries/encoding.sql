-- name: lock_worker
-- Numbers are taken at random: whoever gets one holds it until the session ends, however that comes about.
select pg_try_advisory_lock(%(key)s, %(worker)s);

-- name: note_missing_rows
select pgsim.note_missing_rows(%(embedding_type_id)s);

-- name: claim_jobs
-- A worker that was killed has lost its lock, and its rows are free. `skip locked` keeps workers from waiting for each
-- other. Rows that were claimed before and not finished are taken one by one: one of them may be what killed a worker.
with free as (
    select j.workspace_id, j.data_row_id, j.embedding_type_id
    from pgsim.encoding_job j
    where j.embedding_type_id = %(embedding_type_id)s and j.reason is null and j.not_before <= now()
        and (j.attempts > 0) = %(again)s
        and (j.worker is null or j.worker <> all(array(
            select l.objid::bigint::int from pg_catalog.pg_locks l
            where l.locktype = 'advisory' and l.classid::bigint = %(key)s and l.objsubid = 2 and l.granted
                and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
        )))
    order by j.ticket
    limit %(rows)s
    for update of j skip locked
)
update pgsim.encoding_job j
set worker = %(worker)s, attempts = j.attempts + 1
from free f
where j.workspace_id = f.workspace_id and j.data_row_id = f.data_row_id
    and j.embedding_type_id = f.embedding_type_id
returning j.data_row_id, j.ticket, j.attempts;

-- name: read_assets
select r.id, r.asset_type, r.uri, r.content, r.media
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)s);

-- name: hold_encoded_rows
-- Of rows that were encoded, those that nobody is changing now; locked before their jobs, as writers of rows do.
select r.id, exists (
    select from pgsim.embedding e where e.embedding_type_id = %(embedding_type_id)s and e.data_row_id = r.id
)
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)s)
order by r.id
for no key update skip locked;

-- name: take_finished_jobs
-- Those whose row is still as it was when it was read.
delete from pgsim.encoding_job j
using unnest(%(ids)s::text[], %(tickets)s::bigint[]) g (id, ticket)
where j.workspace_id = %(workspace_id)s and j.embedding_type_id = %(embedding_type_id)s and j.data_row_id = g.id
    and j.ticket = g.ticket
returning j.data_row_id;

-- name: store_media
-- What a person gave stays, until the asset is another one: then what was read of the one before goes.
update pgsim.data_row r
set media = m.media
from unnest(%(ids)s::text[], %(media)s::jsonb[], %(changed)s::bool[]) g (id, media, changed)
join pgsim.data_row o on o.workspace_id = %(workspace_id)s and o.id = g.id
cross join lateral (
    select case when g.changed then o.media - %(read)s::text[] || g.media else g.media || o.media end
) m (media)
where r.workspace_id = o.workspace_id and r.id = o.id and r.media <> m.media;

-- name: give_back_jobs
-- For another try, after a while where there is a wait; the tries that were no fault of the row's are not counted.
update pgsim.encoding_job j
set worker = null, attempts = greatest(0, j.attempts - %(forgive)s), not_before = now() + g.wait * interval '1 second'
from unnest(%(ids)s::text[], %(tickets)s::bigint[], %(waits)s::float8[]) g (id, ticket, wait)
where j.workspace_id = %(workspace_id)s and j.embedding_type_id = %(embedding_type_id)s and j.data_row_id = g.id
    and j.ticket = g.ticket;

-- name: set_jobs_aside
update pgsim.encoding_job j
set worker = null, reason = g.reason
from unnest(%(ids)s::text[], %(tickets)s::bigint[], %(reasons)s::text[]) g (id, ticket, reason)
where j.workspace_id = %(workspace_id)s and j.embedding_type_id = %(embedding_type_id)s and j.data_row_id = g.id
    and j.ticket = g.ticket;

-- name: retry_jobs
update pgsim.encoding_job j
set reason = null, attempts = 0, not_before = now()
where j.embedding_type_id = %(embedding_type_id)s and j.reason is not null;

-- name: count_jobs
-- Waiting, set aside, and those of them whose row still has the vector of what it was.
select
    count(*) filter (where j.reason is null), count(*) filter (where j.reason is not null),
    count(e.data_row_id)
from pgsim.encoding_job j
left join {partition} e on e.data_row_id = j.data_row_id
where j.embedding_type_id = %(embedding_type_id)s;

-- name: list_reasons
select j.data_row_id, j.reason from pgsim.encoding_job j
where j.embedding_type_id = %(embedding_type_id)s and j.reason is not null
order by j.data_row_id
limit %(limit)s;

-- name: asset_types_there
select a.asset_type from unnest(%(asset_types)s::text[]) a (asset_type)
where exists (
    select from pgsim.data_row r where r.workspace_id = %(workspace_id)s and r.asset_type = a.asset_type
);

-- name: declared_fields
select name, kind, options from pgsim.metadata_field where workspace_id = %(workspace_id)s;

-- name: list_metadata_fields
-- An index that was interrupted is there, and not valid.
select f.id, f.name, f.kind, f.options, f.created_at, coalesce(i.indisvalid, false) as indexed
from pgsim.metadata_field f
left join pg_catalog.pg_index i
    on i.indexrelid = pg_catalog.to_regclass(pg_catalog.format('pgsim.metadata_%%s_%%s', f.workspace_id, f.id))
where f.workspace_id = %(workspace_id)s and (%(name)s::text is null or f.name = %(name)s)
order by f.name;

-- name: remake_views_myself
-- Lets a field change that slices name, see pgsim.check_metadata_field().
select pg_catalog.set_config('pgsim.remakes_views', 'on', true);

-- name: insert_metadata_field
insert into pgsim.metadata_field (workspace_id, name, kind, options)
values (%(workspace_id)s, %(name)s, %(kind)s, %(options)s);

-- name: update_metadata_options
update pgsim.metadata_field set options = %(options)s where workspace_id = %(workspace_id)s and name = %(name)s;

-- name: delete_metadata_field
delete from pgsim.metadata_field where workspace_id = %(workspace_id)s and name = %(name)s;

-- name: try_metadata_index_lock
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pgsim.metadata_index', 0));

-- name: release_metadata_index_lock
select pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('pgsim.metadata_index', 0));

-- name: hold_metadata_fields
-- A field that is declared from here on waits for this transaction, see pgsim.check_metadata().
select id from pgsim.workspace where id = %(workspace_id)s for key share;

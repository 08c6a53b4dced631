-- How those who write vectors and those who edit slices keep out of each other's way; why so: docs/adr/0012-neighbourhoods.md.

-- What is kept of a slice is computed only while no transaction has vectors of its type that are not committed: writers
-- share a lock, and who computes must have it alone. It is tried for and never waited for, so that neither a long import
-- keeps slices from being made, nor their making those who write; what could not be computed is stale.
create or replace function pgsim.join_writers(kind bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock_shared(7366516, (kind % 2147483648)::int);
    if not pgsim.sees_all() then
        -- An edit of slices changes this row. A transaction with an older snapshot cannot see the edit: it is told.
        perform from pgsim.slice_epoch e where e.embedding_type_id = kind for share;
        if not found then
            raise exception 'embedding type % is newer than this transaction''s snapshot', kind using errcode = '40001';
        end if;
    end if;
end
$$;

comment on function pgsim.join_writers(bigint) is
    'For who writes vectors of a type: waits while slices are computed, and until the transaction ends none is.';

create or replace function pgsim.stop_writers(kind bigint) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    for attempt in 1..40 loop
        if pg_try_advisory_xact_lock(7366516, (kind % 2147483648)::int) then
            return true;
        end if;
        perform pg_sleep(0.025);
    end loop;
    return false;
end
$$;

comment on function pgsim.stop_writers(bigint) is
    'Tries for a second to be alone with a type''s vectors until the transaction ends; others wait from then on.';

-- Those who edit slices of one type come one after the other: so each sees what those before it made.
create or replace function pgsim.mark_edit(kind bigint) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    update pgsim.slice_epoch e set epoch = e.epoch + 1 where e.embedding_type_id = mark_edit.kind
$$;

comment on function pgsim.mark_edit(bigint) is
    'Waits for other edits of the slices on an embedding type, and tells transactions with an older snapshot.';

create or replace function pgsim.sees_all() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return current_setting('transaction_isolation') in ('read committed', 'read uncommitted');

comment on function pgsim.sees_all() is 'Whether each statement of this transaction sees all that was committed before it.';

create or replace function pgsim.mark_edits(slice bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    kind bigint;
begin
    -- Also of the type that it searched before; in one order, so that two edits do not wait for each other.
    for kind in
        select a.embedding_type_id from pgsim.slice_anchor a where a.slice_id = slice
        union
        select b.embedding_type_id from pgsim.slice_neighbourhood b where b.slice_id = slice
        order by 1
    loop
        perform pgsim.mark_edit(kind);
    end loop;
end
$$;

comment on function pgsim.mark_edits(bigint) is 'Marks an edit on every embedding type that a slice needs anchors of.';

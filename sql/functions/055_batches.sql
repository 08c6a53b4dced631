-- A batch is filled by the transaction that makes it, and fixed when that ends, whoever writes the rows. Deleting all of
-- it is the one change there is; its data rows can then be sent to the project again.

create or replace function pgsim.check_batch() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.row_count := 0;
    new.fixed := false;
    return new;
end
$$;

comment on function pgsim.check_batch() is 'Trigger: a new batch is empty and open, whatever is written.';

create or replace trigger check_batch
before insert on pgsim.batch
for each row execute function pgsim.check_batch();

comment on trigger check_batch on pgsim.batch is 'A new batch is empty and open.';

create or replace function pgsim.check_batch_size(workspace_id bigint, batch text, row_count bigint) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    workspace pgsim.workspace;
begin
    select * into workspace from pgsim.workspace w where w.id = check_batch_size.workspace_id;
    if row_count > workspace.max_batch_rows then
        raise exception 'batch "%" would hold more than % data rows, the limit of workspace "%"', batch,
            workspace.max_batch_rows, workspace.name
            using errcode = 'PS001', hint = format(
                'send a part of them (--limit N), or raise the limit: pgsim workspaces limits %s --set max_batch_rows=N',
                workspace.name
            );
    end if;
end
$$;

comment on function pgsim.check_batch_size(bigint, text, bigint) is
    'Raises where a batch of so many data rows would be above the limit of its workspace.';

-- Statement by statement: 100,000 rows are one count and one look into pgsim.data_row.
create or replace function pgsim.count_batch_rows() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    counted record;
    missing text;
begin
    for counted in
        select b.id, b.workspace_id, b.name, b.fixed, n.added
        from (select r.batch_id, count(*) as added from new_rows r group by r.batch_id) n
        join pgsim.batch b on b.id = n.batch_id
        order by b.id
    loop
        if counted.fixed then
            raise exception 'batch "%" is made: it cannot change', counted.name
                using errcode = 'PS002', hint = 'make another batch';
        end if;
        update pgsim.batch b set row_count = b.row_count + counted.added where b.id = counted.id
        returning b.row_count into counted.added;
        perform pgsim.check_batch_size(counted.workspace_id, counted.name, counted.added);
    end loop;
    select n.data_row_id into missing
    from new_rows n
    where not exists (
        select from pgsim.data_row r where r.workspace_id = n.workspace_id and r.id = n.data_row_id
    )
    limit 1;
    if found then
        raise exception 'there is no data row "%" in the batch''s workspace', missing using errcode = 'PS003';
    end if;
    return null;
end
$$;

comment on function pgsim.count_batch_rows() is
    'Trigger: holds the limit of a batch, refuses rows for one that is made, and rows that are no data rows.';

create or replace trigger count_batch_rows
after insert on pgsim.batch_row
referencing new table as new_rows
for each statement execute function pgsim.count_batch_rows();

comment on trigger count_batch_rows on pgsim.batch_row is 'Limit of a batch; data rows only.';

create or replace function pgsim.fix_batch() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    rows_in_it int;
begin
    update pgsim.batch b set fixed = true where b.id = new.id returning b.row_count into rows_in_it;
    if rows_in_it = 0 then
        raise exception 'batch "%" would hold no data rows', new.name
            using errcode = 'PS004', hint = 'a batch and its rows are written in one transaction';
    end if;
    return null;
end
$$;

comment on function pgsim.fix_batch() is 'Trigger: fixes a batch at the end of the transaction that made it.';

-- A constraint trigger cannot be replaced.
drop trigger if exists fix_batch on pgsim.batch;

create constraint trigger fix_batch
after insert on pgsim.batch
deferrable initially deferred
for each row execute function pgsim.fix_batch();

comment on trigger fix_batch on pgsim.batch is 'Fixes a batch when its transaction ends.';

create or replace function pgsim.refuse_batch_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'batches are fixed once made' using errcode = 'PS002',
        hint = 'a batch can be deleted as a whole: pgsim batches delete';
end
$$;

comment on function pgsim.refuse_batch_change() is 'Trigger: refuses that a batch changes.';

-- Deeper than 0 are the triggers here, and the foreign key that deletes a batch's rows with it.
create or replace trigger refuse_change
before update on pgsim.batch
for each statement when (pg_trigger_depth() = 0)
execute function pgsim.refuse_batch_change();

comment on trigger refuse_change on pgsim.batch is 'Batches are fixed once made.';

create or replace trigger refuse_change
before update or delete on pgsim.batch_row
for each statement when (pg_trigger_depth() = 0)
execute function pgsim.refuse_batch_change();

comment on trigger refuse_change on pgsim.batch_row is 'Batches are fixed once made.';

create or replace trigger refuse_truncate
before truncate on pgsim.batch
for each statement execute function pgsim.refuse_batch_change();

comment on trigger refuse_truncate on pgsim.batch is 'Batches are deleted one by one.';

create or replace trigger refuse_truncate
before truncate on pgsim.batch_row
for each statement execute function pgsim.refuse_batch_change();

comment on trigger refuse_truncate on pgsim.batch_row is 'Batches are fixed once made.';

create or replace view pgsim.batches with (security_invoker = true) as
select w.name as workspace, b.name as batch, b.project, b.row_count, b.created_at
from pgsim.batch b
join pgsim.workspace w on w.id = b.workspace_id;

comment on view pgsim.batches is 'Every batch with the name of its workspace.';
comment on column pgsim.batches.workspace is 'Name of the workspace.';
comment on column pgsim.batches.batch is 'Name of the batch.';
comment on column pgsim.batches.project is 'The project that the rows were sent to.';
comment on column pgsim.batches.row_count is 'Data rows in the batch.';
comment on column pgsim.batches.created_at is 'When the batch was made.';

create or replace view pgsim.rows_of_batch with (security_invoker = true) as
select w.name as workspace, b.name as batch, r.project, r.position, r.data_row_id, r.score
from pgsim.batch_row r
join pgsim.batch b on b.id = r.batch_id
join pgsim.workspace w on w.id = b.workspace_id;

comment on view pgsim.rows_of_batch is 'The data rows of every batch; also those that were deleted since.';
comment on column pgsim.rows_of_batch.workspace is 'Name of the workspace.';
comment on column pgsim.rows_of_batch.batch is 'Name of the batch.';
comment on column pgsim.rows_of_batch.project is 'The project that the rows were sent to.';
comment on column pgsim.rows_of_batch.position is 'Place in the batch''s order, from 1.';
comment on column pgsim.rows_of_batch.data_row_id is 'The data row''s id.';
comment on column pgsim.rows_of_batch.score is 'Similarity by which the row was chosen; null where it was not.';

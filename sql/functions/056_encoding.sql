-- The queue of rows that wait for a model. Statement by statement, so that an import of 100,000 rows is one look.

create or replace function pgsim.note_rows(
    workspace_id bigint, embedding_type_id bigint, ids text[]
) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    insert into pgsim.encoding_job (workspace_id, data_row_id, embedding_type_id)
    select note_rows.workspace_id, r.id, note_rows.embedding_type_id from unnest(ids) r (id) order by r.id
    on conflict (workspace_id, data_row_id, embedding_type_id) do update
        -- Another ticket: what a worker makes of the row as it was is thrown away.
        set ticket = excluded.ticket, worker = null, attempts = 0, not_before = excluded.not_before, reason = null
$$;

comment on function pgsim.note_rows(bigint, bigint, text[]) is
    'Puts rows into the queue of a type''s model, anew where they are in it.';

create or replace function pgsim.note_new_rows() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    noted record;
    found_any boolean := false;
begin
    -- Most workspaces have no model, and pay for this look alone.
    for noted in
        select t.workspace_id, t.id, t.asset_types from pgsim.embedding_type t
        where t.model is not null and t.workspace_id in (select distinct n.workspace_id from new_rows n)
        order by t.id
    loop
        perform pgsim.note_rows(noted.workspace_id, noted.id, array(
            select n.id from new_rows n
            where n.workspace_id = noted.workspace_id and n.asset_type = any(noted.asset_types)
        ));
        found_any := true;
    end loop;
    if found_any then
        perform pg_notify('pgsim_encoding', '');
    end if;
    return null;
end
$$;

comment on function pgsim.note_new_rows() is 'Trigger: notes new rows for the models of their workspace.';

create or replace trigger note_new_rows
after insert on pgsim.data_row
referencing new table as new_rows
for each statement execute function pgsim.note_new_rows();

comment on trigger note_new_rows on pgsim.data_row is 'Notes new rows for the models of their workspace.';

-- Nothing is known of a transition table's columns, and a few rows are expected where all 10,000 are of one workspace: a
-- nested loop would compare each with each, which took an import of known rows from 0.3 s to 6.
create or replace function pgsim.note_changed_rows() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_nestloop = off
as $$
declare
    noted record;
    found_any boolean := false;
begin
    for noted in
        select t.workspace_id, t.id, t.asset_types from pgsim.embedding_type t
        where t.model is not null and t.workspace_id in (select distinct n.workspace_id from new_rows n)
        order by t.id
    loop
        perform pgsim.note_rows(noted.workspace_id, noted.id, array(
            select n.id from new_rows n join old_rows o on o.workspace_id = n.workspace_id and o.id = n.id
            where n.workspace_id = noted.workspace_id and n.asset_type = any(noted.asset_types)
                and (n.asset_type, n.uri, n.content) is distinct from (o.asset_type, o.uri, o.content)
        ));
        -- What is no image any more is not encoded as one, and its text not put among the images.
        delete from pgsim.encoding_job j
        using new_rows n join old_rows o on o.workspace_id = n.workspace_id and o.id = n.id
        where j.workspace_id = n.workspace_id and j.data_row_id = n.id and j.embedding_type_id = noted.id
            and n.workspace_id = noted.workspace_id and n.asset_type <> o.asset_type
            and not n.asset_type = any(noted.asset_types);
        found_any := true;
    end loop;
    if found_any then
        perform pg_notify('pgsim_encoding', '');
    end if;
    return null;
end
$$;

comment on function pgsim.note_changed_rows() is
    'Trigger: notes rows whose type, address or content changed for the models of their workspace.';

create or replace trigger note_changed_rows
after update on pgsim.data_row
referencing old table as old_rows new table as new_rows
for each statement execute function pgsim.note_changed_rows();

comment on trigger note_changed_rows on pgsim.data_row is 'Notes rows whose content changed for the models of their workspace.';

create or replace function pgsim.note_missing_rows(embedding_type_id bigint) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    noted bigint;
begin
    insert into pgsim.encoding_job (workspace_id, data_row_id, embedding_type_id)
    select r.workspace_id, r.id, t.id
    from pgsim.embedding_type t
    join pgsim.data_row r on r.workspace_id = t.workspace_id and r.asset_type = any(t.asset_types)
    where t.id = note_missing_rows.embedding_type_id
        and not exists (
            select from pgsim.embedding e where e.embedding_type_id = t.id and e.data_row_id = r.id
        )
    order by r.id
    on conflict do nothing;
    get diagnostics noted = row_count;
    return noted;
end
$$;

comment on function pgsim.note_missing_rows(bigint) is
    'Puts rows without a vector of a type into the queue of its model: those that were there before it.';

-- A slice's view follows its row, whoever deletes or renames it; pgsim makes the view when it makes the slice.

create or replace function pgsim.check_slice() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from pgsim.slice s
        where s.workspace_id = new.workspace_id and s.name = new.name and s.id is distinct from new.id
    ) then
        raise exception 'there is already a slice "%"', new.name using errcode = 'PS006', hint = 'choose another name';
    end if;
    if tg_op = 'INSERT' then
        perform pgsim.take_place(new.workspace_id, 'used_slices', 'max_slices', 'slices');
    elsif new.workspace_id <> old.workspace_id then
        raise exception 'slice "%" cannot move to another workspace', old.name using errcode = 'PS004';
    else
        -- As take_place() does for a new slice: a metadata field that is declared meanwhile waits for this one's view.
        perform from pgsim.workspace w where w.id = new.workspace_id for key share;
        new.updated_at := now();
    end if;
    return new;
end
$$;

comment on function pgsim.check_slice() is 'Trigger: holds the limit of slices and keeps updated_at.';

create or replace trigger check_slice
before insert or update on pgsim.slice
for each row execute function pgsim.check_slice();

comment on trigger check_slice on pgsim.slice is 'Limit of slices; updated_at.';

create or replace function pgsim.follow_slice() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    schema_name text;
begin
    select 'ws_' || w.name into schema_name from pgsim.workspace w where w.id = old.workspace_id;
    if tg_op = 'DELETE' then
        if to_regclass(format('%I.%I', schema_name, old.name)) is not null then
            execute format('drop view %I.%I', schema_name, old.name);
        end if;
    elsif new.name <> old.name then
        execute format('alter view %I.%I rename to %I', schema_name, old.name, new.name);
    end if;
    return null;
end
$$;

comment on function pgsim.follow_slice() is 'Trigger: drops or renames the view of a slice with the slice.';

-- Apart from follow_slice, which acts with the rights of who deletes; as a trigger function nobody can call it alone.
create or replace function pgsim.release_slice_place() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgsim.give_place(old.workspace_id, 'used_slices');
    return null;
end
$$;

comment on function pgsim.release_slice_place() is 'Trigger: counts one slice less in a workspace.';

create or replace trigger release_slice_place
after delete on pgsim.slice
for each row execute function pgsim.release_slice_place();

comment on trigger release_slice_place on pgsim.slice is 'Counts one slice less in a workspace.';

create or replace trigger follow_slice
after delete or update of name on pgsim.slice
for each row execute function pgsim.follow_slice();

comment on trigger follow_slice on pgsim.slice is 'Drops or renames the view of a slice with the slice.';

-- Slices that refer to others go first: the views stand on each other as the slices do.
create or replace function pgsim.delete_slices(slice_ids bigint[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    users text;
begin
    loop
        delete from pgsim.slice s
        where s.id = any(slice_ids) and not exists (select from pgsim.slice_use u where u.used_slice_id = s.id);
        exit when not found;
    end loop;
    select string_agg(distinct quote_ident(s.name), ', ') into users
    from pgsim.slice_use u join pgsim.slice s on s.id = u.slice_id
    where u.used_slice_id = any(slice_ids);
    if users is not null then
        raise exception 'other slices refer to it: %', users using errcode = 'PS002', hint = 'delete those first';
    end if;
end
$$;

comment on function pgsim.delete_slices(bigint[]) is
    'Deletes slices that may refer to each other; refused where another slice refers to one of them.';

create or replace function pgsim.delete_workspace(workspace text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint;
begin
    select w.id into found_id from pgsim.workspace w where w.name = delete_workspace.workspace for update;
    if found_id is null then
        raise exception 'there is no workspace "%"', workspace using errcode = 'PS003';
    end if;
    perform pgsim.delete_slices(array(select s.id from pgsim.slice s where s.workspace_id = found_id));
    delete from pgsim.embedding_type t where t.workspace_id = found_id;
    delete from pgsim.data_row r where r.workspace_id = found_id;
    execute format('drop schema if exists %I', 'ws_' || workspace);
    delete from pgsim.workspace w where w.id = found_id;
end
$$;

comment on function pgsim.delete_workspace(text) is 'Deletes a workspace with everything in it.';

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

-- A name in a definition, of the slice or the embedding type that was renamed. Numbers of vectors are not looked at.
create or replace function pgsim.renamed(node jsonb, keys text[], before text, after text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case jsonb_typeof(node)
        when 'object' then (
            select jsonb_object_agg(f.key, case
                when f.key = any(keys) and f.value = to_jsonb(before) then to_jsonb(after)
                when f.key = 'vector' then f.value
                else pgsim.renamed(f.value, keys, before, after)
            end)
            from jsonb_each(node) f
        )
        when 'array' then (
            select coalesce(jsonb_agg(pgsim.renamed(e.value, keys, before, after) order by e.position), '[]')
            from jsonb_array_elements(node) with ordinality e (value, position)
        )
        else node
    end;
end
$$;

comment on function pgsim.renamed(jsonb, text[], text, text) is
    'A definition in which a name that stands under one of these keys is another one.';

create or replace function pgsim.follow_slice() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    schema_name text;
    view regclass;
    role text := current_setting('role');
begin
    select 'ws_' || w.name into schema_name from pgsim.workspace w where w.id = old.workspace_id;
    view := to_regclass(format('%I.%I', schema_name, old.name));
    if view is null then
        return null;
    end if;
    if tg_op = 'DELETE' then
        execute format('drop view %s', view);
    elsif new.name <> old.name then
        -- The owner of the schema may drop a view in it; only the view's own may rename it.
        perform set_config('role', pg_get_userbyid(c.relowner), true) from pg_class c where c.oid = view;
        execute format('alter view %s rename to %I', view, new.name);
        perform set_config('role', role, true);
    end if;
    return null;
end
$$;

comment on function pgsim.follow_slice() is 'Trigger: drops or renames the view of a slice with the slice.';

-- The views follow a name by themselves; the definitions, which hold it as text, follow here.
create or replace function pgsim.follow_name() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_table_name = 'slice' then
        update pgsim.slice s
        set definition = pgsim.renamed(s.definition, '{in_slice}', old.name, new.name)
        where s.id in (select u.slice_id from pgsim.slice_use u where u.used_slice_id = new.id);
    else
        update pgsim.slice s
        set definition = pgsim.renamed(s.definition, '{embedding,has_embedding}', old.name, new.name)
        where s.id in (select t.slice_id from pgsim.slice_embedding_type t where t.embedding_type_id = new.id);
    end if;
    -- Searches that look names up in several statements see by this row that one of them may stand for something else.
    update pgsim.workspace w set max_slices = w.max_slices where w.id = new.workspace_id;
    return null;
end
$$;

comment on function pgsim.follow_name() is
    'Trigger: definitions of slices follow the new name of a slice or an embedding type, and searches look it up again.';

create or replace trigger follow_name
after update of name on pgsim.slice
for each row when (old.name <> new.name)
execute function pgsim.follow_name();

comment on trigger follow_name on pgsim.slice is 'Definitions that refer to a slice follow its name.';

create or replace trigger follow_name
after update of name on pgsim.embedding_type
for each row when (old.name <> new.name)
execute function pgsim.follow_name();

comment on trigger follow_name on pgsim.embedding_type is 'Definitions of slices follow the name of their embedding type.';

-- A slice that is in itself is in nothing.
create or replace function pgsim.refuse_cycle() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    place bigint := (select s.workspace_id from pgsim.slice s where s.id = new.slice_id);
    way text;
begin
    -- Two sessions that each make one half of a cycle meet here, also where one of them has an older snapshot.
    update pgsim.workspace w set used_slices = w.used_slices where w.id = place;
    with recursive below (id, way) as (
        select new.used_slice_id, array[new.slice_id, new.used_slice_id]
        union all
        select u.used_slice_id, b.way || u.used_slice_id
        from below b
        join pgsim.slice_use u on u.slice_id = b.id
        where b.id <> new.slice_id and not u.used_slice_id = any(b.way[2:])
    )
    select string_agg(quote_ident(s.name), ' -> ' order by w.position) into way
    from (select b.way from below b where b.id = new.slice_id limit 1) b
    cross join lateral unnest(b.way) with ordinality w (id, position)
    join pgsim.slice s on s.id = w.id;
    if way is not null then
        raise exception 'a slice cannot refer to itself: %', way
            using errcode = 'PS004', hint = 'take one of these references out';
    end if;
    return null;
end
$$;

comment on function pgsim.refuse_cycle() is 'Trigger: refuses that slices refer to each other in a circle.';

create or replace trigger refuse_cycle
after insert or update on pgsim.slice_use
for each row execute function pgsim.refuse_cycle();

comment on trigger refuse_cycle on pgsim.slice_use is 'No slice is part of itself.';

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

-- The foreign keys of slice_batch and slice_cluster_run refuse it too, but cannot name the slices.
create or replace function pgsim.guard_referent() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    slices text;
    names jsonb;
begin
    execute format(
        'select string_agg(quote_ident(s.name), '', '' order by s.name), jsonb_agg(s.name order by s.name)'
        ' from pgsim.%I r join pgsim.slice s on s.id = r.slice_id where r.%I = $1',
        'slice_' || tg_table_name, tg_table_name || '_id'
    ) into slices, names using old.id;
    if slices is not null then
        raise exception 'slices refer to % "%": %', replace(tg_table_name, '_', ' '), old.name, slices
            using errcode = 'PS002', hint = 'delete those slices first', detail = names::text;
    end if;
    return old;
end
$$;

comment on function pgsim.guard_referent() is
    'Trigger: refuses that a batch or a cluster run goes to which slices refer.';

create or replace trigger guard_batch
before delete on pgsim.batch
for each row execute function pgsim.guard_referent();

comment on trigger guard_batch on pgsim.batch is 'Keeps batches to which slices refer.';

create or replace trigger guard_cluster_run
before delete on pgsim.cluster_run
for each row execute function pgsim.guard_referent();

comment on trigger guard_cluster_run on pgsim.cluster_run is 'Keeps cluster runs to which slices refer.';

drop function if exists pgsim.guard_batch();
drop function if exists pgsim.guard_cluster_run();

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
    delete from pgsim.batch b where b.workspace_id = found_id;
    delete from pgsim.cluster_run r where r.workspace_id = found_id;
    delete from pgsim.embedding_type t where t.workspace_id = found_id;
    delete from pgsim.data_row r where r.workspace_id = found_id;
    execute format('drop schema if exists %I', 'ws_' || workspace);
    delete from pgsim.workspace w where w.id = found_id;
end
$$;

comment on function pgsim.delete_workspace(text) is 'Deletes a workspace with everything in it.';

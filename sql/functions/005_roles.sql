-- The role that owns the slices' views. It cannot log in, and may read just what the views read. Roles belong to the
-- whole server: another database of it, or a role that may not create roles, must not stop an upgrade.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'pgsim_views') then
        create role pgsim_views nologin;
    end if;
    -- To hand views to that role one must be able to become it; a superuser can anyway.
    if not (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)
        and not pg_catalog.pg_has_role(current_user, 'pgsim_views', 'SET') then
        execute pg_catalog.format('grant pgsim_views to %I with set true, inherit false', current_user);
    end if;
exception
    when duplicate_object or unique_violation or insufficient_privilege then
        null;
end
$$;

do $$
declare
    partition_name text;
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'pgsim_views') then
        grant usage on schema pgsim to pgsim_views;
        execute 'grant usage on schema ' || $extension$@vector@$extension$ || ' to pgsim_views';
        grant select on pgsim.workspace, pgsim.data_row, pgsim.embedding, pgsim.embedding_type to pgsim_views;
        grant select on pgsim.slice, pgsim.slice_anchor, pgsim.slice_neighbourhood, pgsim.slice_match to pgsim_views;
        grant select on pgsim.batch_row, pgsim.clustered_row to pgsim_views;
        for partition_name in
            select c.oid::pg_catalog.regclass::text
            from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'pgsim.embedding'::pg_catalog.regclass
        loop
            execute 'grant select on ' || partition_name || ' to pgsim_views';
        end loop;
    end if;
exception
    when insufficient_privilege then
        null;
end
$$;

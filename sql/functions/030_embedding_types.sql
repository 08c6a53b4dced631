-- An embedding type and its partition live and die together, whoever writes the row.

drop function if exists pgsim.index_operand(int, text, float8);

-- The same spelling as pgsim.vectors.index.operand. Searches run what is stored, so nothing else may be stored: a role
-- that may write embedding types must not put words into the statements of those who search. The function that a compact
-- index is over is made by a build, by the owner of the partition, and by nothing that a row of embedding_type says.
create or replace function pgsim.index_operand(
    dimensions int, metric text, scale float8, kind text default 'halfvec', type_id bigint default null
) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when kind = 'float32' then format('((%%s)::%1$s.vector(%2$s))', q.name, dimensions)
        when kind = 'compact' then format('(pgsim.compact_%1$s(%%s)::bit(%2$s))', type_id, dimensions)
        when metric = 'cosine' then format('(%1$s.l2_normalize(%%s)::%1$s.halfvec(%2$s))', q.name, dimensions)
        when scale = 1 then format('((%%s)::%1$s.halfvec(%2$s))', q.name, dimensions)
        else format(
            '(((%%s) operator(%1$s.*) array_fill((2::float8 ^ (%3$s))::real, array[%2$s])::%1$s.vector)'
            '::%1$s.halfvec(%2$s))', q.name, dimensions, round(log(2::numeric, scale::numeric))
        )
    end
    from (values ($extension$@vector@$extension$)) q (name)
$$;

comment on function pgsim.index_operand(int, text, float8, text, bigint) is
    'The one spelling of an indexed expression, with %s where the vector stands.';

create or replace function pgsim.check_embedding_type() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    workspace pgsim.workspace;
begin
    if new.index_operand is distinct from null
        and new.index_operand is distinct from pgsim.index_operand(
            new.dimensions, new.metric, new.index_scale, new.index_kind, new.id
        ) then
        raise exception 'index_operand of embedding type "%" is not the expression that its index is built on', new.name
            using errcode = 'PS004', hint = 'leave it to: pgsim embeddings build';
    end if;
    if tg_op = 'UPDATE' then
        if (new.id, new.workspace_id, new.dimensions, new.metric, new.origin)
            is distinct from (old.id, old.workspace_id, old.dimensions, old.metric, old.origin) then
            raise exception 'the workspace, dimensions, metric and origin of embedding type "%" cannot change', old.name
                using errcode = 'PS004', hint = 'create another embedding type';
        end if;
        -- Vectors of two models, of two revisions of one, or of none that is known, are not comparable.
        if (new.model, new.revision, new.lineage, new.asset_types)
            is distinct from (old.model, old.revision, old.lineage, old.asset_types) then
            raise exception 'the model of embedding type "%" and its revision cannot change', old.name
                using errcode = 'PS004', hint = 'create another embedding type for the new model or revision';
        end if;
        return new;
    end if;
    select * into workspace from pgsim.workspace w where w.id = new.workspace_id;
    if new.dimensions not between workspace.min_dimensions and workspace.max_dimensions then
        raise exception '% dimensions: workspace "%" takes % to %', new.dimensions, workspace.name,
            workspace.min_dimensions, workspace.max_dimensions
            using errcode = 'PS001';
    end if;
    if new.origin = 'custom' and new.name in ('clip-vit-b-32', 'all-mpnet-base-v2') then
        raise exception 'the name "%" is reserved for the off-the-shelf embedding type', new.name
            using errcode = 'PS004', hint = 'choose another name';
    end if;
    -- Refuse a name that is taken before a place is counted, so that the message is about the name.
    if exists (select from pgsim.embedding_type t where t.workspace_id = new.workspace_id and t.name = new.name) then
        raise exception 'workspace "%" already has an embedding type "%"', workspace.name, new.name
            using errcode = 'PS006';
    end if;
    if new.origin = 'custom' then
        perform pgsim.take_place(
            new.workspace_id, 'used_embedding_types', 'custom_embedding_types', 'custom embedding types'
        );
    end if;
    return new;
end
$$;

comment on function pgsim.check_embedding_type() is
    'Trigger: holds the limits of a new embedding type, and keeps fixed what its vectors rely on.';

create or replace trigger check_embedding_type
before insert or update on pgsim.embedding_type
for each row execute function pgsim.check_embedding_type();

comment on trigger check_embedding_type on pgsim.embedding_type is 'Limits and fixed columns.';

create or replace function pgsim.create_partition() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    partition_name text := 'embedding_' || new.id::bigint;
    entry record;
begin
    -- `partition of` would lock the parent against every writer; a table made apart and attached does not.
    execute format('create table pgsim.%I (like pgsim.embedding including all)', partition_name);
    execute format(
        'alter table pgsim.%I add constraint %I check (workspace_id = %s and @vector@.vector_dims(vector) = %s)',
        partition_name, partition_name || '_vector_check', new.workspace_id::bigint, new.dimensions::int
    );
    if new.metric = 'cosine' then
        -- Cosine distance has no value for a zero vector, nor where the squares leave single precision.
        execute format(
            'alter table pgsim.%I add constraint %I check (@vector@.vector_norm(vector) between 1e-18 and 1e18)',
            partition_name, partition_name || '_norm_check'
        );
    end if;
    -- Out-of-line storage makes an exact scan ten times slower; longer vectors do not fit a page.
    execute format(
        'alter table pgsim.%I alter column vector set storage %s',
        partition_name, case when new.dimensions <= 1950 then 'plain' else 'external' end
    );
    execute format(
        'comment on table pgsim.%I is %L', partition_name, 'The vectors of embedding type ' || new.id || '.'
    );
    execute format('alter table pgsim.embedding attach partition pgsim.%I for values in (%s)', partition_name, new.id::bigint);
    execute format(
        'create trigger guard_anchors_truncate before truncate on pgsim.%I'
        ' for each statement execute function pgsim.guard_anchors_truncate()', partition_name
    );
    execute format(
        'comment on trigger guard_anchors_truncate on pgsim.%I is ''Keeps the embeddings of slices'''' anchors.''',
        partition_name
    );
    perform pgsim.watch_vectors(format('pgsim.%I', partition_name)::regclass);
    -- Who may read or write vectors may do so in every partition, which searches and imports name.
    for entry in
        select a.privilege_type, case a.grantee when 0 then 'public' else quote_ident(r.rolname) end as grantee
        from pg_class c
        cross join lateral aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where c.oid = 'pgsim.embedding'::regclass and a.grantee <> c.relowner and (a.grantee = 0 or r.oid is not null)
    loop
        execute format('grant %s on pgsim.%I to %s', entry.privilege_type, partition_name, entry.grantee);
    end loop;
    return null;
end
$$;

comment on function pgsim.create_partition() is 'Trigger: makes the partition that holds a new type''s vectors.';

create or replace trigger create_partition
after insert on pgsim.embedding_type
for each row execute function pgsim.create_partition();

comment on trigger create_partition on pgsim.embedding_type is 'Makes the partition of a new type.';

create or replace function pgsim.retire_partition() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Dropping a partition takes the strongest lock on the parent and would wait for every import that runs; emptying
    -- it takes no lock but its own. What is left is dropped later, by pgsim.drop_retired(). It is told apart before it is
    -- emptied, as no slice is on it that would have to follow.
    insert into pgsim.retired_partition (embedding_type_id) values (old.id);
    execute format('truncate table pgsim.%I', 'embedding_' || old.id);
    execute format('alter table pgsim.%I add constraint retired check (false)', 'embedding_' || old.id);
    if old.origin = 'custom' then
        perform pgsim.give_place(old.workspace_id, 'used_embedding_types');
    end if;
    return null;
end
$$;

comment on function pgsim.retire_partition() is 'Trigger: empties the partition of a deleted type, at once.';

create or replace trigger retire_partition
after delete on pgsim.embedding_type
for each row execute function pgsim.retire_partition();

comment on trigger retire_partition on pgsim.embedding_type is 'Empties the partition of a deleted type.';

create or replace function pgsim.drop_retired() returns int
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
    retired bigint;
    index_name text;
    function_name text;
    dropped int := 0;
begin
    for retired in
        select p.embedding_type_id from pgsim.retired_partition p
        -- Whoever can write here must not be able to drop a type that lives.
        where not exists (select from pgsim.embedding_type t where t.id = p.embedding_type_id)
        for update skip locked
    loop
        begin
            execute format('drop table if exists pgsim.%I', 'embedding_' || retired);
            -- What compact indexes were over.
            for function_name in
                select p.proname from pg_proc p
                where p.pronamespace = 'pgsim'::regnamespace and p.proname ~ format('^compact_%s(_old_.*)?$', retired)
            loop
                execute format('drop function if exists pgsim.%I(@vector@.vector)', function_name);
            end loop;
            delete from pgsim.retired_partition where embedding_type_id = retired;
            dropped := dropped + 1;
        exception when lock_not_available then
            -- Somebody is importing; the next call tries again.
            exit;
        end;
    end loop;
    for index_name in
        select c.relname
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        where i.indrelid = 'pgsim.data_row'::regclass and c.relname ~ '^metadata_[0-9]+_[0-9]+$'
            and not exists (
                select from pgsim.metadata_field f where c.relname = format('metadata_%s_%s', f.workspace_id, f.id)
            )
    loop
        begin
            execute format('drop index pgsim.%I', index_name);
            execute format('drop statistics if exists pgsim.%I', index_name);
            dropped := dropped + 1;
        exception when lock_not_available then
            exit;
        end;
    end loop;
    return dropped;
end
$$;

comment on function pgsim.drop_retired() is
    'Drops the emptied partitions of deleted embedding types and the indexes of deleted metadata fields that nobody holds;'
    ' returns how many.';

-- The foreign key of slice_anchor refuses it too, but cannot name the slices.
create or replace function pgsim.guard_anchor_row() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    slices text;
begin
    select string_agg(distinct quote_ident(s.name), ', ') into slices
    from pgsim.slice_anchor a join pgsim.slice s on s.id = a.slice_id
    where a.workspace_id = old.workspace_id and a.data_row_id = old.id;
    if slices is not null then
        raise exception 'data row "%" is an anchor of slices: %', old.id, slices
            using errcode = 'PS002', hint = 'delete those slices first';
    end if;
    return old;
end
$$;

comment on function pgsim.guard_anchor_row() is 'Trigger: refuses that a slice''s anchor row goes.';

create or replace trigger guard_anchor_row
before delete on pgsim.data_row
for each row execute function pgsim.guard_anchor_row();

comment on trigger guard_anchor_row on pgsim.data_row is 'Keeps slices'' anchor rows.';

create or replace function pgsim.guard_anchors_truncate() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    slices text;
begin
    select string_agg(distinct quote_ident(s.name), ', ') into slices
    from pgsim.slice_anchor a join pgsim.slice s on s.id = a.slice_id
    where tg_table_name in ('embedding', 'embedding_' || a.embedding_type_id);
    if slices is not null then
        raise exception 'embeddings of anchors cannot be truncated; slices that use them: %', slices
            using errcode = 'PS002', hint = 'delete those slices first';
    end if;
    return null;
end
$$;

comment on function pgsim.guard_anchors_truncate() is 'Trigger: refuses to truncate the embeddings of slices'' anchors.';

create or replace trigger guard_anchors_truncate
before truncate on pgsim.embedding
for each statement execute function pgsim.guard_anchors_truncate();

comment on trigger guard_anchors_truncate on pgsim.embedding is 'Keeps the embeddings of slices'' anchors.';

-- The triggers on vectors that keep slices exact.

-- An embedding of a slice's anchor cannot go, nor move to another row.
create or replace function pgsim.guard_anchors(kind bigint, anchors text[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    lost text;
    users text;
begin
    execute format(
        'select min(a.id) from unnest($1) a (id)'
        ' where not exists (select from pgsim.%I e where e.data_row_id = a.id collate "C")', 'embedding_' || kind
    ) into lost using anchors;
    if lost is null then
        return;
    end if;
    select string_agg(distinct quote_ident(s.name), ', ') into users
    from pgsim.slice_anchor a
    join pgsim.slice s on s.id = a.slice_id
    where a.embedding_type_id = kind and a.data_row_id = lost;
    raise exception 'data row "%" is an anchor of slices: %', lost, users
        using errcode = 'PS002', hint = 'delete those slices first';
end
$$;

comment on function pgsim.guard_anchors(bigint, text[]) is
    'Refuses that anchors of slices are left without a vector of an embedding type.';

-- Statement triggers are told of rows by their place, which a merge can change unseen: the server shows its updates that move
-- a row to another type as deletions and insertions, to the triggers of those alone, and takes the new ids of others from
-- rows that it has inserted before. A row trigger is told the truth.
create or replace function pgsim.keep_place() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'the vector of data row "%" cannot go over to another %', old.data_row_id,
        case when old.embedding_type_id = new.embedding_type_id then 'data row' else 'embedding type' end
        using errcode = 'PS004', hint = 'delete it, and insert it there';
end
$$;

comment on function pgsim.keep_place() is 'Trigger: refuses that a vector goes over to another data row or embedding type.';

-- For every statement that writes vectors, named through the parent or a partition, directly or by a cascade. What a
-- statement wrote is known by id, of an update by that of before; the vectors are read anew, since other triggers may have
-- gone on from there, and since a merge is shown inserted rows as the new state of those that it updates.
create or replace function pgsim.follow_vectors() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    kinds bigint[];
    kind pgsim.embedding_type;
    kind_id bigint;
    slices bigint[];
    moved bigint[];
    anchors text[];
    -- Without it one may see a vector that another session deleted beside the one that took its place.
    whole boolean := pgsim.sees_all();
    touched text;
    found text;
    former text;
    many boolean;
    concerned boolean;
    change record;
begin
    if tg_table_name <> 'embedding' then
        kinds := array[substr(tg_table_name, length('embedding_') + 1)::bigint];
    elsif tg_op = 'INSERT' then
        kinds := array(select distinct w.embedding_type_id from new_vectors w order by 1);
    else
        kinds := array(select distinct w.embedding_type_id from old_vectors w order by 1);
    end if;
    foreach kind_id in array kinds loop
        perform pgsim.join_writers(kind_id);
        -- Copies of vectors.
        if tg_op = 'DELETE' then
            delete from pgsim.landmark l
            using old_vectors w
            where w.embedding_type_id = kind_id and l.embedding_type_id = kind_id and l.data_row_id = w.data_row_id;
        elsif tg_op = 'UPDATE' then
            if exists (
                select from old_vectors w
                join pgsim.landmark l on l.embedding_type_id = w.embedding_type_id and l.data_row_id = w.data_row_id
                where w.embedding_type_id = kind_id
            ) then
                -- By the partition's name: a plan over all partitions would wait for whoever deletes another type.
                execute format(
                    'update pgsim.landmark l set vector = e.vector from old_vectors w join pgsim.%I e'
                    ' on e.data_row_id = w.data_row_id where w.embedding_type_id = $1 and l.embedding_type_id = $1'
                    ' and l.data_row_id = w.data_row_id and l.vector operator(@vector@.<>) e.vector',
                    'embedding_' || kind_id
                ) using kind_id;
            end if;
        end if;
        if tg_op <> 'INSERT' then
            anchors := array(
                select a.data_row_id
                from old_vectors w
                join pgsim.slice_anchor a on a.workspace_id = w.workspace_id and a.data_row_id = w.data_row_id
                    and a.embedding_type_id = w.embedding_type_id
                where w.embedding_type_id = kind_id
            );
            if anchors <> '{}' then
                perform pgsim.guard_anchors(kind_id, anchors);
            end if;
        end if;
        slices := array(
            select b.slice_id from pgsim.slice_neighbourhood b
            where b.embedding_type_id = kind_id and b.state = 'kept'
            order by 1
        );
        continue when slices = '{}';
        select * into kind from pgsim.embedding_type t where t.id = kind_id;
        -- An insert gives an anchor another vector where the same statement has deleted the one before.
        if tg_op <> 'DELETE' then
            if tg_op = 'INSERT' then
                anchors := array(
                    select v.data_row_id
                    from new_vectors w
                    join pgsim.slice_vector v on v.data_row_id = w.data_row_id
                    where w.embedding_type_id = kind_id and v.slice_id = any(slices)
                );
            else
                anchors := array(
                    select v.data_row_id
                    from old_vectors w
                    join pgsim.slice_vector v on v.data_row_id = w.data_row_id
                    where w.embedding_type_id = kind_id and v.slice_id = any(slices)
                );
            end if;
            moved := '{}';
            if anchors <> '{}' then
                execute format(
                    'select array(select distinct v.slice_id from pgsim.slice_vector v'
                    ' join pgsim.%I e on e.data_row_id = v.data_row_id'
                    ' where v.slice_id = any($1) and v.data_row_id = any($2)'
                    ' and e.vector operator(@vector@.<>) v.vector order by 1)', 'embedding_' || kind_id
                ) into moved using slices, anchors;
            end if;
            if moved <> '{}' and current_setting('pgsim.fill_later', true) = 'on' then
                -- A long transaction would keep other writers of the type waiting.
                update pgsim.slice_neighbourhood b set state = 'stale', cause = 'anchor'
                where b.slice_id = any(moved) and b.embedding_type_id = kind_id and b.state = 'kept';
            elsif moved <> '{}' then
                perform pgsim.mark_edit(kind_id);
                perform pgsim.refill_slices(kind_id, moved, 'anchor');
            end if;
            -- Both may have waited for edits of these slices.
            slices := array(
                select b.slice_id from pgsim.slice_neighbourhood b
                where b.slice_id = any(slices) and b.slice_id <> all(moved) and b.embedding_type_id = kind_id
                    and b.state = 'kept'
                order by 1
            );
            continue when slices = '{}';
        end if;
        touched := format(
            'select w.data_row_id, w.embedding_type_id from %I w', case tg_op when 'INSERT' then 'new_vectors' else 'old_vectors' end
        );
        found := pgsim.match_query(
            kind,
            format(
                'select %s e.data_row_id, @vector@.subvector(e.vector, 1, %s) as vector from (%s) w'
                ' join pgsim.%I e on e.data_row_id = w.data_row_id where w.embedding_type_id = %s %s',
                case when not whole then 'distinct on (e.data_row_id)' end, kind.dimensions, touched,
                'embedding_' || kind_id, kind_id,
                case when not whole then 'order by e.data_row_id, age(e.xmin)' end
            )
        );
        former := case tg_op
            when 'INSERT' then 'false'
            else format(
                'm.data_row_id in (select w.data_row_id from old_vectors w where w.embedding_type_id = %s)', kind_id
            )
        end;
        execute format('select count(*) > 100 from (select from (%s) w limit 101) w', touched) into many;
        if many then
            -- As a join, which this is not, the server may compare each kept row with each vector: it knows nothing of
            -- how many rows are kept, nor of what the statement wrote.
            former := format('coalesce(%s, false)', former);
        else
            -- Most vectors are near to no slice: for a few, planning what follows would take longer than to find that out.
            execute format(
                'select exists (%s) or exists (select from pgsim.slice_match m where m.slice_id = any($1) and (%s))',
                found, former
            ) into concerned using slices;
            continue when not concerned;
        end if;
        for change in
            execute pgsim.settle_query(kind_id, found, former)
            using slices, case tg_op when 'DELETE' then 'deletion' else 'vector' end, clock_timestamp()
        loop
            perform pgsim.announce_slice(change.slice_id, change.entered, change.left);
            if change.counted and pgsim.max_slice_matches() < (
                select count(*) from (
                    select from pgsim.slice_match m where m.slice_id = change.slice_id
                    limit pgsim.max_slice_matches() + 1
                ) m
            ) then
                update pgsim.slice_neighbourhood b set state = 'large'
                where b.slice_id = change.slice_id and b.embedding_type_id = kind_id and b.state = 'kept';
            end if;
        end loop;
    end loop;
    return null;
end
$$;

comment on function pgsim.follow_vectors() is
    'Trigger: keeps the rows in range of slices exact, the vectors of their anchors where they are, and landmarks as their vectors are.';

-- The lock that truncate holds keeps edits from reading the partition: nobody is waited for here.
create or replace function pgsim.follow_truncate() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    kind_id bigint := substr(tg_table_name, length('embedding_') + 1)::bigint;
    slices bigint[];
    change record;
begin
    if exists (select from pgsim.retired_partition p where p.embedding_type_id = kind_id) then
        return null;
    end if;
    delete from pgsim.landmark l where l.embedding_type_id = kind_id;
    if not pgsim.sees_all() then
        perform pgsim.join_writers(kind_id);
        update pgsim.slice_neighbourhood b set state = 'stale', cause = 'deletion'
        where b.embedding_type_id = kind_id and b.state = 'kept';
        return null;
    end if;
    slices := array(
        select b.slice_id from pgsim.slice_neighbourhood b
        where b.embedding_type_id = kind_id and b.state = 'kept'
        order by 1
    );
    for change in
        execute pgsim.settle_query(
            kind_id,
            'select m.slice_id, m.data_row_id, m.distance, m.nearest_anchor as nearest from pgsim.slice_match m where false',
            'true'
        )
        using slices, 'deletion', clock_timestamp()
    loop
        perform pgsim.announce_slice(change.slice_id, change.entered, change.left);
    end loop;
    return null;
end
$$;

comment on function pgsim.follow_truncate() is 'Trigger: a truncated partition leaves nothing in the range of slices.';

-- Statement triggers fire for the table that the statement names, so the parent and each partition have them.
create or replace function pgsim.watch_vectors(target regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    event text;
begin
    foreach event in array array['insert', 'update', 'delete', 'truncate'] loop
        continue when exists (
            select from pg_trigger t where t.tgrelid = target and t.tgname = 'follow_' || event and not t.tgisinternal
        );
        -- The parent's partitions have their own.
        continue when event = 'truncate' and target = 'pgsim.embedding'::regclass;
        execute format(
            'create trigger %I after %s on %s %s for each statement execute function pgsim.%I()',
            'follow_' || event, event, target,
            case event
                when 'insert' then 'referencing new table as new_vectors'
                when 'update' then 'referencing old table as old_vectors new table as new_vectors'
                when 'delete' then 'referencing old table as old_vectors'
                else ''
            end,
            case event when 'truncate' then 'follow_truncate' else 'follow_vectors' end
        );
        execute format('comment on trigger %I on %s is %L', 'follow_' || event, target, 'Keeps slices exact.');
    end loop;
    -- Partitions take these from the parent. A row that changes its partition fires nothing after; what else changes a
    -- row's id comes before.
    if target = 'pgsim.embedding'::regclass and not exists (
        select from pg_trigger t where t.tgrelid = target and t.tgname = 'keep_row'
    ) then
        create trigger keep_type before update on pgsim.embedding
        for each row when (old.embedding_type_id <> new.embedding_type_id) execute function pgsim.keep_place();
        create trigger keep_row after update on pgsim.embedding
        for each row when (old.data_row_id <> new.data_row_id) execute function pgsim.keep_place();
        comment on trigger keep_type on pgsim.embedding is 'A vector stays one of its embedding type.';
        comment on trigger keep_row on pgsim.embedding is 'A vector stays one of its data row.';
    end if;
end
$$;

comment on function pgsim.watch_vectors(regclass) is
    'Makes the triggers that keep slices exact on a table of vectors, where they are missing.';

do $$
begin
    perform pgsim.watch_vectors('pgsim.embedding');
    -- A type's partition, until it is retired.
    perform pgsim.watch_vectors(i.inhrelid)
    from pg_catalog.pg_inherits i
    where i.inhparent = 'pgsim.embedding'::pg_catalog.regclass;
end
$$;

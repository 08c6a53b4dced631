-- Neighbourhoods: the rows within range of a slice's anchors are computed once, when the slice is made, and kept exact by
-- statement triggers on the vectors, in the writer's own transaction. Why it is done so: docs/adr/0012-neighbourhoods.md.

create or replace function pgsim.max_slice_matches() returns int
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return 100000;

comment on function pgsim.max_slice_matches() is 'With more rows in range than this, a slice computes on read.';

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

-- A vector of the source is looked at closer where it is within reach of one of the vectors that decide; at most one of
-- them lets it through, so that a row comes once. Slices are $1. What is behind `offset 0` is computed once for each row
-- and not once for each pair, which counts where vectors are stored out of line.
create or replace function pgsim.match_query(kind pgsim.embedding_type, source text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(
        $query$
        select v.slice_id, n.data_row_id, x.distance, x.nearest
        from (%3$s offset 0) n
        join (
            select
                b.slice_id, b.combine, b.closest, b.farthest, b.left_out, a.position, a.role, a.reach,
                @vector@.subvector(a.vector, 1, %2$s) as vector
            from pgsim.slice_neighbourhood b
            join pgsim.slice_vector a on a.slice_id = b.slice_id
            where b.slice_id = any($1) and a.reach is not null
            offset 0
        ) v on (n.vector %1$s v.vector) <= v.reach
        cross join lateral (
            select
                case
                    when v.combine = 'mean' then
                        sum(d.distance order by d.position) filter (where d.role = 'positive')
                            / count(*) filter (where d.role = 'positive')
                    when v.role = 'centroid' then min(d.distance) filter (where d.role = 'centroid')
                    else min(d.distance) filter (where d.role = 'positive')
                end as distance,
                min(d.distance) filter (where d.role = 'positive') as individual,
                min(d.distance) filter (where d.role = 'negative') as against,
                (array_agg(d.position order by d.distance, d.position) filter (where d.role = 'positive'))[1] as nearest
            from (
                select a.position, a.role, n.vector %1$s a.vector as distance
                from pgsim.slice_vector a
                where a.slice_id = v.slice_id
                offset 0
            ) d
        ) x
        where x.distance between v.closest and v.farthest
            and (x.against is null or x.against >= x.individual)
            and (v.position = x.nearest or v.role = 'centroid' or v.farthest = 'infinity')
            and n.data_row_id <> all(v.left_out)
        $query$,
        format('operator(@vector@.%s)', case kind.metric when 'l1' then '<+>' when 'l2' then '<->' else '<=>' end),
        kind.dimensions, source
    )
$$;

comment on function pgsim.match_query(pgsim.embedding_type, text) is
    'Text of the query for slices $1: slice_id, data_row_id, distance and nearest anchor of every vector in range.';

-- Makes the kept rows equal to what was found, for the rows that were touched, and notes what that changed: one row for
-- each slice. $2 is the cause, $3 the time.
create or replace function pgsim.settle_query(found text, touched text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(
        $query$
        with found as materialized (%s),
        gone as (
            delete from pgsim.slice_match m
            where m.slice_id = any($1) and (%s)
                and not exists (
                    select from found f where f.slice_id = m.slice_id and f.data_row_id = m.data_row_id
                )
            returning m.slice_id, m.data_row_id, false as entered
        ),
        stored as (
            insert into pgsim.slice_match as m (slice_id, data_row_id, distance, nearest_anchor)
            select f.slice_id, f.data_row_id, f.distance, f.nearest from found f
            on conflict (slice_id, data_row_id) do update
            set distance = excluded.distance, nearest_anchor = excluded.nearest_anchor
            where (m.distance, m.nearest_anchor) is distinct from (excluded.distance, excluded.nearest_anchor)
            returning m.slice_id, m.data_row_id, m.xmax = 0 as entered
        ),
        noted as (
            insert into pgsim.slice_change (slice_id, transaction, data_row_id, entered, cause, at)
            select c.slice_id, pg_current_xact_id()::text::bigint, c.data_row_id, c.entered, $2, $3
            from (select * from gone union all select * from stored where entered) c
            returning slice_id, id, entered
        )
        select
            slice_id, count(*) filter (where entered) as entered, count(*) filter (where not entered) as left,
            -- Counting is left to each hundredth of the change that would be too much.
            max(id) / greatest(pgsim.max_slice_matches() / 100, 1)
                > (min(id) - 1) / greatest(pgsim.max_slice_matches() / 100, 1) as counted
        from noted
        group by slice_id
        $query$, found, touched
    )
$$;

comment on function pgsim.settle_query(text, text) is
    'Text of the statement that brings slice_match to what was found and notes the changes of slices $1.';

create or replace function pgsim.announce_slice(slice bigint, entered bigint, gone bigint) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select pg_notify('pgsim_slice', json_build_object(
        'workspace', w.name, 'slice', s.name, 'transaction', pg_current_xact_id()::text::bigint,
        'entered', announce_slice.entered, 'left', announce_slice.gone
    )::text)
    from pgsim.slice s
    join pgsim.workspace w on w.id = s.workspace_id
    where s.id = announce_slice.slice
$$;

comment on function pgsim.announce_slice(bigint, bigint, bigint) is
    'Tells listeners on pgsim_slice how many rows a statement brought into a slice''s range and took out of it.';

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

-- After an edit was marked. Where the rows are not computed, those of before stay and are not looked at: compared with
-- them, the history goes on without a gap once they are kept again.
create or replace function pgsim.refill_slices(kind bigint, slices bigint[], cause text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A snapshot of before the lock would lack what was committed since.
    if pgsim.sees_all() and pgsim.stop_writers(kind) then
        perform pgsim.fill_neighbourhood(s.id, refill_slices.cause) from unnest(slices) s (id);
    else
        update pgsim.slice_neighbourhood b set state = 'stale', cause = refill_slices.cause
        where b.slice_id = any(slices) and b.state <> 'live';
    end if;
end
$$;

comment on function pgsim.refill_slices(bigint, bigint[], text) is
    'Computes the rows in range of slices on a type anew; while others write its vectors, the slices are stale instead.';

-- The vectors of the anchors, the bounds in distance and every row in range, by who is alone with the vectors.
create or replace function pgsim.fill_neighbourhood(slice bigint, cause text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Compiling costs more than it saves, at the costs that the server guesses.
set jit = off
as $$
declare
    hood pgsim.slice_neighbourhood;
    kind pgsim.embedding_type;
    most int := pgsim.max_slice_matches();
    ids text[];
    distances float8[];
    nearest smallint[];
    change record;
begin
    select * into hood from pgsim.slice_neighbourhood b where b.slice_id = slice and b.state <> 'live' for update;
    if not found then
        return;
    end if;
    select * into kind from pgsim.embedding_type t where t.id = hood.embedding_type_id;
    execute format(
        'update pgsim.slice_vector v set vector = e.vector from pgsim.%I e'
        ' where v.slice_id = $1 and v.data_row_id is not null and e.data_row_id = v.data_row_id',
        'embedding_' || kind.id
    ) using slice;
    delete from pgsim.slice_vector v where v.slice_id = slice and v.role = 'centroid';
    if hood.combine = 'centroid' then
        insert into pgsim.slice_vector (slice_id, position, role, vector)
        select slice, 0, 'centroid', @vector@.avg(v.vector order by v.position)
        from pgsim.slice_vector v
        where v.slice_id = slice and v.role = 'positive'
        having count(*) > 1;
    end if;
    select b.closest, b.farthest into hood.closest, hood.farthest
    from pgsim.distance_bounds(hood.min_score, hood.max_score, kind.score_half, kind.score_power) b;
    update pgsim.slice_vector v
    set reach = case
        when v.role = 'negative' then null
        when v.role = 'positive' and d.centroid then null
        when hood.farthest = 'infinity' and v.position > 1 then null
        -- No mean is below the least of its terms, but for its rounding.
        when hood.combine = 'mean' then hood.farthest * (1 + 1e-9)
        else hood.farthest
    end
    from (
        select exists (select from pgsim.slice_vector c where c.slice_id = slice and c.role = 'centroid') as centroid
    ) d
    where v.slice_id = slice;
    update pgsim.slice_neighbourhood b
    set closest = hood.closest, farthest = hood.farthest, state = 'kept', cause = null
    where b.slice_id = slice;

    -- As arrays, because only a query that stores nothing runs in parallel.
    execute format(
        'select array_agg(f.data_row_id), array_agg(f.distance), array_agg(f.nearest) from (%s limit %s) f',
        pgsim.match_query(kind, format('select e.data_row_id, e.vector from pgsim.%I e', 'embedding_' || kind.id)),
        most + 1
    ) into ids, distances, nearest using array[slice];
    if cardinality(ids) > most then
        update pgsim.slice_neighbourhood b set state = 'large' where b.slice_id = slice;
        return;
    end if;
    for change in
        execute pgsim.settle_query(
            'select $4 as slice_id, f.id as data_row_id, f.distance, f.nearest'
            ' from unnest($5, $6, $7) f (id, distance, nearest)', 'true'
        )
        using array[slice], cause, clock_timestamp(), slice, ids, distances, nearest
    loop
        perform pgsim.announce_slice(change.slice_id, change.entered, change.left);
    end loop;
end
$$;

comment on function pgsim.fill_neighbourhood(bigint, text) is
    'Computes the rows in range of a slice anew, and notes what changed.';

create or replace function pgsim.define_neighbourhood(
    slice bigint, kind bigint, combine text, min_score float8, max_score float8, exclude_anchors boolean, live boolean,
    anchor_rows text[], anchor_vectors text[], positives int, cause text
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    former bigint := (select b.embedding_type_id from pgsim.slice_neighbourhood b where b.slice_id = slice);
begin
    perform pgsim.sweep_slices();
    -- Who still writes vectors of the former type takes what it finds for rows of this slice.
    if former <> kind and not pgsim.stop_writers(former) then
        raise exception 'vectors of the embedding type that the slice searches are being written' using errcode = '55P03';
    end if;
    perform pgsim.mark_edit(kind);
    insert into pgsim.slice_neighbourhood
        (slice_id, embedding_type_id, combine, min_score, max_score, left_out, state)
    values (
        slice, kind, define_neighbourhood.combine, define_neighbourhood.min_score, define_neighbourhood.max_score,
        case when exclude_anchors then array_remove(anchor_rows, null) else '{}' end,
        case when live then 'live' else 'stale' end
    )
    on conflict (slice_id) do update
    set (embedding_type_id, combine, min_score, max_score, left_out, state) = row(
        excluded.embedding_type_id, excluded.combine, excluded.min_score, excluded.max_score, excluded.left_out,
        excluded.state
    );
    delete from pgsim.slice_vector v where v.slice_id = slice;
    insert into pgsim.slice_vector (slice_id, position, role, data_row_id, vector)
    select
        slice, a.position, case when a.position <= positives then 'positive' else 'negative' end, a.data_row_id,
        a.vector::@vector@.vector
    from unnest(anchor_rows, anchor_vectors) with ordinality a (data_row_id, vector, position);
    if not live then
        perform pgsim.refill_slices(kind, array[slice], cause);
    end if;
end
$$;

comment on function pgsim.define_neighbourhood(
    bigint, bigint, text, float8, float8, boolean, boolean, text[], text[], int, text
) is 'Stores the similarity clause of a slice and computes the rows in range; anchors are rows or vectors, in order.';

create or replace function pgsim.drop_neighbourhood(slice bigint) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    delete from pgsim.slice_neighbourhood b where b.slice_id = drop_neighbourhood.slice;
    delete from pgsim.slice_match m where m.slice_id = drop_neighbourhood.slice
$$;

comment on function pgsim.drop_neighbourhood(bigint) is 'Forgets the similarity clause of a slice, and the rows in range.';

-- Of slices that are no more, what an import still wrote that began before they went. A walk along the keys: it costs a
-- look-up for each slice.
create or replace function pgsim.sweep_slices() returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    with recursive kept (id) as (
        select min(m.slice_id) from pgsim.slice_match m
        union all
        select (select min(m.slice_id) from pgsim.slice_match m where m.slice_id > k.id) from kept k where k.id is not null
    )
    delete from pgsim.slice_match m
    where m.slice_id in (select k.id from kept k where k.id not in (select s.id from pgsim.slice s));
    with recursive noted (id) as (
        select min(c.slice_id) from pgsim.slice_change c
        union all
        select (select min(c.slice_id) from pgsim.slice_change c where c.slice_id > n.id) from noted n where n.id is not null
    )
    delete from pgsim.slice_change c
    where c.slice_id in (select n.id from noted n where n.id not in (select s.id from pgsim.slice s))
$$;

comment on function pgsim.sweep_slices() is 'Removes what was kept and noted of slices that are no more.';

create or replace function pgsim.keep_slices(kind bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pgsim.slice_neighbourhood b where b.embedding_type_id = kind and b.state = 'stale') then
        return;
    end if;
    perform pgsim.mark_edit(kind);
    perform pgsim.refill_slices(kind, b.slices, b.cause)
    from (
        select b.cause, array_agg(b.slice_id order by b.slice_id) as slices
        from pgsim.slice_neighbourhood b
        where b.embedding_type_id = kind and b.state = 'stale'
        group by b.cause
    ) b;
end
$$;

comment on function pgsim.keep_slices(bigint) is
    'Computes the rows in range of the slices on a type that are stale, so that they are kept again.';

create or replace function pgsim.forget_slice() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgsim.drop_neighbourhood(old.id);
    delete from pgsim.slice_change c where c.slice_id = old.id;
    return old;
end
$$;

comment on function pgsim.forget_slice() is 'Trigger: what is kept of a slice goes with it.';

create or replace trigger forget_slice
before delete on pgsim.slice
for each row execute function pgsim.forget_slice();

comment on trigger forget_slice on pgsim.slice is 'What is kept of a slice goes with it.';

-- Calibration moves the distances that a range of scores stands for.
create or replace function pgsim.follow_calibration() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- First, so that the slices of an edit that is waited for are among them.
    perform pgsim.mark_edit(new.id);
    perform pgsim.refill_slices(new.id, array(
        select b.slice_id from pgsim.slice_neighbourhood b where b.embedding_type_id = new.id order by 1
    ), 'calibration');
    return null;
end
$$;

comment on function pgsim.follow_calibration() is 'Trigger: brings slices up to date with the constants of the score.';

create or replace trigger follow_calibration
after update on pgsim.embedding_type
for each row when ((old.score_half, old.score_power) is distinct from (new.score_half, new.score_power))
execute function pgsim.follow_calibration();

comment on trigger follow_calibration on pgsim.embedding_type is 'Keeps the score ranges of slices.';

create or replace function pgsim.start_epoch() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into pgsim.slice_epoch (embedding_type_id) values (new.id);
    return null;
end
$$;

comment on function pgsim.start_epoch() is 'Trigger: makes the row by which writers notice edits of slices.';

create or replace trigger start_epoch
after insert on pgsim.embedding_type
for each row execute function pgsim.start_epoch();

comment on trigger start_epoch on pgsim.embedding_type is 'Makes the row by which writers notice edits of slices.';

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

-- For every statement that writes vectors, named through the parent or a partition, directly or by a cascade. What a
-- statement wrote is known by id; the vectors are read anew, since other triggers may have gone on from there.
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
    change record;
begin
    if tg_table_name <> 'embedding' then
        kinds := array[substr(tg_table_name, length('embedding_') + 1)::bigint];
    elsif tg_op = 'INSERT' then
        kinds := array(select distinct w.embedding_type_id from new_vectors w order by 1);
    elsif tg_op = 'DELETE' then
        kinds := array(select distinct w.embedding_type_id from old_vectors w order by 1);
    else
        kinds := array(
            select w.embedding_type_id from old_vectors w union select w.embedding_type_id from new_vectors w order by 1
        );
    end if;
    foreach kind_id in array kinds loop
        perform pgsim.join_writers(kind_id);
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
        if tg_op = 'UPDATE' then
            moved := array(
                select distinct v.slice_id
                from new_vectors w
                join pgsim.slice_vector v on v.data_row_id = w.data_row_id
                where w.embedding_type_id = kind_id and v.slice_id = any(slices)
                    and w.vector operator(@vector@.<>) v.vector
                order by 1
            );
            if moved <> '{}' and current_setting('pgsim.fill_later', true) = 'on' then
                -- A long transaction would keep other writers of the type waiting.
                update pgsim.slice_neighbourhood b set state = 'stale', cause = 'anchor' where b.slice_id = any(moved);
            elsif moved <> '{}' then
                perform pgsim.mark_edit(kind_id);
                perform pgsim.refill_slices(kind_id, moved, 'anchor');
            end if;
            slices := array(select s.id from unnest(slices) s (id) where s.id <> all(moved));
            continue when slices = '{}';
        end if;
        touched := case tg_op
            when 'INSERT' then 'select w.data_row_id, w.embedding_type_id from new_vectors w'
            when 'DELETE' then 'select w.data_row_id, w.embedding_type_id from old_vectors w'
            else 'select w.data_row_id, w.embedding_type_id from new_vectors w'
                ' union select w.data_row_id, w.embedding_type_id from old_vectors w'
        end;
        for change in
            execute pgsim.settle_query(
                pgsim.match_query(
                    kind,
                    format(
                        'select %s e.data_row_id, @vector@.subvector(e.vector, 1, %s) as vector from (%s) w'
                        ' join pgsim.%I e on e.data_row_id = w.data_row_id where w.embedding_type_id = %s %s',
                        case when not whole then 'distinct on (e.data_row_id)' end, kind.dimensions, touched,
                        'embedding_' || kind_id, kind_id,
                        case when not whole then 'order by e.data_row_id, age(e.xmin)' end
                    )
                ),
                case tg_op
                    when 'INSERT' then 'false'
                    else format(
                        'm.data_row_id in (select w.data_row_id from old_vectors w where w.embedding_type_id = %s)',
                        kind_id
                    )
                end
            )
            using slices, case tg_op when 'DELETE' then 'deletion' else 'vector' end, clock_timestamp()
        loop
            perform pgsim.announce_slice(change.slice_id, change.entered, change.left);
            if change.counted and pgsim.max_slice_matches() < (
                select count(*) from (
                    select from pgsim.slice_match m where m.slice_id = change.slice_id
                    limit pgsim.max_slice_matches() + 1
                ) m
            ) then
                update pgsim.slice_neighbourhood b set state = 'large' where b.slice_id = change.slice_id;
            end if;
        end loop;
    end loop;
    return null;
end
$$;

comment on function pgsim.follow_vectors() is
    'Trigger: keeps the rows in range of slices exact, and the vectors of their anchors where they are.';

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

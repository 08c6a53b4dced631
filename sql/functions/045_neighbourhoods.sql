-- Neighbourhoods: the rows within range of a slice's anchors are computed once, when the slice is made, and kept exact by
-- statement triggers on the vectors, in the writer's own transaction. Why it is done so: docs/adr/0012-neighbourhoods.md.

-- After an edit was marked. Where the rows are not computed, those of before stay and are not looked at: compared with
-- them, the history goes on without a gap once they are kept again.
create or replace function pgsim.refill_slices(kind bigint, slices bigint[], cause text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A snapshot of before the lock would lack what was committed since.
    if pgsim.sees_all() and pgsim.stop_writers(kind) then
        perform pgsim.fill_neighbourhood(s.id, refill_slices.cause)
        from (
            select b.slice_id as id from pgsim.slice_neighbourhood b
            where b.slice_id = any(slices) and b.embedding_type_id = kind
            order by 1
        ) s;
    else
        update pgsim.slice_neighbourhood b set state = 'stale', cause = refill_slices.cause
        where b.slice_id = any(slices) and b.embedding_type_id = kind and b.state <> 'live';
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
            kind.id, 'select $4 as slice_id, f.id as data_row_id, f.distance, f.nearest'
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

-- Who still writes vectors of the type takes what it finds for rows of the slice, and who truncates them takes out of it what
-- it saw kept. Neither is waited for long: every other edit waits too.
create or replace function pgsim.leave_type(kind bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    patience text := current_setting('lock_timeout');
begin
    if not pgsim.stop_writers(kind) then
        raise lock_not_available;
    end if;
    if patience = '0' then
        perform set_config('lock_timeout', '1s', true);
    end if;
    execute format('lock table pgsim.%I in access share mode', 'embedding_' || kind);
    perform set_config('lock_timeout', patience, true);
exception
    when lock_not_available then
        raise exception 'vectors of the embedding type that the slice searches are being written' using errcode = '55P03';
    when undefined_table then
        -- The type was deleted.
        null;
end
$$;

comment on function pgsim.leave_type(bigint) is
    'Tries to be alone with the vectors of the type that a slice searched, until the transaction ends.';

create or replace function pgsim.define_neighbourhood(
    slice bigint, kind bigint, combine text, min_score float8, max_score float8, exclude_anchors boolean, live boolean,
    anchor_rows text[], anchor_vectors text[], positives int, cause text
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Also where it searched none of late.
    former bigint := coalesce(
        (select b.embedding_type_id from pgsim.slice_neighbourhood b where b.slice_id = slice),
        (select s.former_type_id from pgsim.slice s where s.id = slice)
    );
begin
    perform pgsim.sweep_slices();
    if former <> kind then
        perform pgsim.leave_type(former);
    end if;
    perform pgsim.mark_edit(kind);
    insert into pgsim.slice_neighbourhood
        (slice_id, embedding_type_id, revision, combine, min_score, max_score, left_out, state)
    values (
        slice, kind, (select s.revision from pgsim.slice s where s.id = slice), define_neighbourhood.combine,
        define_neighbourhood.min_score, define_neighbourhood.max_score,
        case when exclude_anchors then array_remove(anchor_rows, null) else '{}' end,
        case when live then 'live' else 'stale' end
    )
    on conflict (slice_id) do update
    set (embedding_type_id, revision, combine, min_score, max_score, left_out, state) = row(
        excluded.embedding_type_id, excluded.revision, excluded.combine, excluded.min_score, excluded.max_score,
        excluded.left_out, excluded.state
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
    update pgsim.slice s set former_type_id = b.embedding_type_id
    from pgsim.slice_neighbourhood b
    where s.id = drop_neighbourhood.slice and b.slice_id = s.id;
    delete from pgsim.slice_neighbourhood b where b.slice_id = drop_neighbourhood.slice
$$;

comment on function pgsim.drop_neighbourhood(bigint) is
    'Forgets the similarity clause of a slice. The rows in range stay: the next clause''s are compared with them.';

-- Whoever writes vectors may hold some of it, and is not waited for: what it leaves is swept up.
create or replace function pgsim.forget_matches(slice bigint) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    delete from pgsim.slice_match m
    where m.slice_id = forget_matches.slice and m.data_row_id in (
        select o.data_row_id from pgsim.slice_match o where o.slice_id = forget_matches.slice for update skip locked
    );
    delete from pgsim.slice_change c
    where c.slice_id = forget_matches.slice and c.id in (
        select o.id from pgsim.slice_change o where o.slice_id = forget_matches.slice for update skip locked
    )
$$;

comment on function pgsim.forget_matches(bigint) is
    'Removes what was kept and noted of a slice, but for what other sessions hold.';

-- A walk along the keys: it costs a look-up for each slice.
create or replace function pgsim.sweep_slices() returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    with recursive kept (id) as (
        select min(m.slice_id) from pgsim.slice_match m
        union all
        select (select min(m.slice_id) from pgsim.slice_match m where m.slice_id > k.id) from kept k where k.id is not null
    ),
    noted (id) as (
        select min(c.slice_id) from pgsim.slice_change c
        union all
        select (select min(c.slice_id) from pgsim.slice_change c where c.slice_id > n.id) from noted n where n.id is not null
    )
    select pgsim.forget_matches(g.id)
    from (select k.id from kept k union select n.id from noted n) g
    where g.id is not null and not exists (select from pgsim.slice s where s.id = g.id)
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
    delete from pgsim.slice_neighbourhood b where b.slice_id = old.id;
    perform pgsim.forget_matches(old.id);
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

-- Which vectors are in range of slices' anchors, and how slice_match is made to say so.

create or replace function pgsim.max_slice_matches() returns int
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return 100000;

comment on function pgsim.max_slice_matches() is 'With more rows in range than this, a slice computes on read.';

-- Which slices are asked for was read before, and others edit them meanwhile: those that are no longer kept, or of another
-- type by now, are left alone. A vector of the source is looked at closer where it is within reach of one of the vectors that decide; at most one of
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
            where b.slice_id = any($1) and b.embedding_type_id = %4$s and b.state = 'kept' and a.reach is not null
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
        kind.dimensions, source, kind.id
    )
$$;

comment on function pgsim.match_query(pgsim.embedding_type, text) is
    'Text of the query for slices $1 that are kept: slice_id, data_row_id, distance and nearest anchor of every vector in'
    ' range.';

drop function if exists pgsim.settle_query(text, text);

-- Makes the kept rows equal to what was found, for the rows that were touched, and notes what that changed: one row for
-- each slice. $2 is the cause, $3 the time.
create or replace function pgsim.settle_query(kind bigint, found text, touched text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(
        $query$
        with found as materialized (%s),
        gone as (
            delete from pgsim.slice_match m
            where m.slice_id = any(array(
                    select b.slice_id from pgsim.slice_neighbourhood b
                    where b.slice_id = any($1) and b.embedding_type_id = %s and b.state = 'kept'
                ))
                and (%s)
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
            -- Counting the rows that are kept is left to about each hundredth of the change that would be too much.
            count(*) >= random() * pgsim.max_slice_matches() / 100 as counted
        from noted
        group by slice_id
        $query$, found, kind, touched
    )
$$;

comment on function pgsim.settle_query(bigint, text, text) is
    'Text of the statement that brings slice_match to what was found and notes the changes of slices $1 that are kept on a type.';

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

drop function if exists pgsim.prefers_index(float8, int, int, int, text, float8, float8);

-- Two rows read at the place where they were when they were looked up: a row that has changed since has moved. As a
-- function it is planned once, where a part of the statement would be planned with each search that has conditions.
create or replace function pgsim.versions(type_place tid, type_id bigint, workspace_place tid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select concat_ws('/', t.xmin, w.xmin)
        from pgsim.embedding_type t cross join pgsim.workspace w
        where t.ctid = type_place and t.id = type_id and w.ctid = workspace_place and w.id = t.workspace_id
    );
end
$$;

comment on function pgsim.versions(tid, bigint, tid) is
    'Versions of an embedding type''s row and its workspace''s, where they have not changed since they were looked up.';

-- The share of random pairs that are no further apart than a distance, interpolated as a power of it.
create or replace function pgsim.share_within(quantiles jsonb, distance float8) returns float8
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    point jsonb;
    share float8;
    at float8;
    below_share float8;
    below_at float8;
begin
    if distance = 'infinity' or quantiles is null or jsonb_array_length(quantiles) = 0 then
        return 1;
    end if;
    for point in select q from jsonb_array_elements(quantiles) with ordinality x (q, i) order by i loop
        share := (point ->> 0)::float8;
        at := (point ->> 1)::float8;
        if at > distance then
            if below_at is null or below_at <= 0 or distance <= 0 then
                return share;
            end if;
            return exp(ln(below_share) + ln(distance / below_at) / ln(at / below_at) * ln(share / below_share));
        end if;
        below_share := share;
        below_at := at;
    end loop;
    return 1;
end
$$;

comment on function pgsim.share_within(jsonb, float8) is
    'Estimated share of random pairs of an embedding type that are no further apart than a distance.';

-- Candidates of each of several walks that show where a page ends, as pgsim.query.plan.first_look has it.
create or replace function pgsim.first_look(wanted int, walks int, keep int) returns int
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return (
    select f.first
    from (select greatest(20, least(ceil(1.5 * wanted / walks), 1e9))::int as first) f
    where walks > 1 and f.first + 20 < keep
);

comment on function pgsim.first_look(int, int, int) is
    'Candidates of each of several walks through an index, among which a page of so many rows is likely to be complete;'
    ' null where walks would hardly end sooner than by themselves.';

drop function if exists pgsim.index_candidates(pgsim.embedding_type, float8, int, int, text, float8, float8);

-- Which plan answers a search: the same choice as pgsim.query.plan.choose, which a test compares over a grid. No rows:
-- an exact scan. The numbers are those of that module, with their reasons there.
create or replace function pgsim.index_walk(
    kind pgsim.embedding_type, vectors float8, wanted int, anchors int, combine text, closest float8, farthest float8,
    out keep int, out at_most int, out ef_search int
) returns setof record
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    settings jsonb := kind.search_settings;
    ef_10 float8 := settings ->> 'ef_search_10';
    ef_100 float8 := settings ->> 'ef_search_100';
    walk_10 float8 := settings ->> 'walk_ms_10';
    walk_100 float8 := settings ->> 'walk_ms_100';
    scan_us float8 := settings ->> 'scan_us';
    walks int := case combine when 'centroid' then 1 else anchors end;
    ordered boolean := kind.index_kind <> 'compact';
    ends boolean := ordered and farthest < 'infinity';
    -- What a search for 10 and for 100 rows takes from the index.
    short_walk float8 := case when ordered then 21 else ef_10 end;
    long_walk float8 := case when ordered then 126 else ef_100 end;
    most constant float8 := 16384;
    in_range float8;
    candidate_ms float8;
    sought float8;
    candidates float8;
    index_ms float8;
    exact_ms float8;
begin
    if kind.index_operand is null or ef_10 is null or ef_100 is null or walk_10 is null or walk_100 is null
        or scan_us is null or closest > 0 or (combine = 'mean' and anchors > 1) or vectors < 3000 then
        return;
    end if;
    keep := case
        when wanted is null then null
        when ordered then wanted + 1 + greatest(10, ceil(wanted / 4.0)::int)
        when wanted <= 10 then ef_10
        else ceil(ef_100 * greatest(wanted / 100.0, 1))
    end;
    sought := coalesce(keep, 1e9);
    candidates := sought;
    if ordered and pgsim.first_look(wanted + 1, walks, keep) is not null then
        -- Several walks end where the page does.
        sought := pgsim.first_look(wanted + 1, walks, keep);
        candidates := sought + 20;
    end if;
    in_range := vectors * pgsim.share_within(kind.calibration -> 'quantiles', farthest);
    if ends then
        sought := least(sought, in_range + 20);
        candidates := least(candidates, in_range + 20);
    elsif farthest < 'infinity' and (wanted is null or in_range < 1.5 * (wanted + 1)) then
        return;
    end if;
    candidate_ms := greatest((walk_100 - walk_10) / greatest(long_walk - short_walk, 1), walk_10 / 200);
    index_ms := walks * (walk_10 + greatest(candidates - short_walk, 0) * candidate_ms);
    exact_ms := vectors * scan_us / 1000 * (1 + 0.6 * (anchors - 1));
    if candidates > most or index_ms + 1.0 >= exact_ms then
        return;
    end if;
    at_most := keep;
    if ends then
        at_most := greatest(
            2 ^ ceil(log(2::numeric, least(
                greatest(2 * candidates, exact_ms / (walks * candidate_ms), 1), most
            )::numeric)), 256
        );
    end if;
    ef_search := case
        when sought <= short_walk then ef_10
        else least(
            greatest(
                ef_10, ceil(ef_100 * greatest(sought / long_walk, 1)),
                case when sought < long_walk then ceil(1.5 * sought) end
            ), 1000
        )
    end;
    return next;
end
$$;

comment on function pgsim.index_walk(pgsim.embedding_type, float8, int, int, text, float8, float8) is
    'Rows to take from each walk through the index, candidates after which it ends, and its ef_search; no row where an'
    ' exact scan is better.';

create or replace function pgsim.anchor_vectors(kind pgsim.embedding_type, anchors text[]) returns @vector@.vector[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    vectors @vector@.vector[];
    missing text;
begin
    execute format(
        'select array_agg(e.vector order by a.position), min(a.id) filter (where e.vector is null)'
        ' from unnest($1) with ordinality a (id, position)'
        ' left join pgsim.%I e on e.data_row_id = a.id collate "C"', 'embedding_' || kind.id
    ) into vectors, missing using anchors;
    if missing is not null then
        if exists (select from pgsim.data_row r where r.workspace_id = kind.workspace_id and r.id = missing) then
            raise exception 'anchor "%" has no vector of embedding type "%"', missing, kind.name using errcode = 'PS003';
        end if;
        raise exception 'anchor "%": there is no such data row', missing using errcode = 'PS003';
    end if;
    return coalesce(vectors, '{}');
end
$$;

comment on function pgsim.anchor_vectors(pgsim.embedding_type, text[]) is
    'The stored vectors of anchor rows, in the order given; raises for a row without one.';

create or replace function pgsim.similar(
    workspace text,
    embedding text,
    anchors text[],
    min_score float8 default 0.85,
    max_score float8 default 1,
    max_rows int default null,
    not_anchors text[] default '{}',
    combine text default 'nearest'
) returns table (data_row_id text, score float8, distance float8, nearest_anchor text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    place pgsim.workspace;
    kind pgsim.embedding_type;
    positives @vector@.vector[];
    negatives @vector@.vector[];
    centroid @vector@.vector;
    repeated text;
    missing bigint;
    table_name text;
    row_count float8;
    operator text;
    individual text;
    combined text;
    condition text := '';
    nearest text := '1';
    body text;
    source text;
    walks text;
    ends text;
    bounded bool;
    plan record;
    ended bool;
    strayed text;
    pruned bool;
    first int;
    limited bool;
    last text;
    astray bool;
    saved text[];
    closest float8;
    farthest float8;
    found_ids text[];
    found_distances float8[];
    found_anchors int[];
begin
    select * into place from pgsim.workspace w where w.name = workspace;
    if not found then
        raise exception 'there is no workspace "%"', workspace using errcode = 'PS003';
    end if;
    select * into kind from pgsim.embedding_type t
    where t.workspace_id = place.id
        and (t.name = embedding or t.id = case when embedding ~ '^[0-9]{1,18}$' then embedding::bigint end)
    order by t.name = embedding desc
    limit 1;
    if not found then
        raise exception 'there is no embedding type "%" in workspace "%"', embedding, workspace using errcode = 'PS003';
    end if;
    not_anchors := coalesce(not_anchors, '{}');
    table_name := 'embedding_' || kind.id;
    if coalesce(cardinality(anchors), 0) = 0 then
        raise exception 'a search needs at least one positive anchor' using errcode = 'PS004';
    end if;
    if cardinality(anchors) + cardinality(not_anchors) > place.max_anchors then
        raise exception '% anchors: a search takes at most %', cardinality(anchors) + cardinality(not_anchors),
            place.max_anchors using errcode = 'PS001';
    end if;
    if array_position(anchors || not_anchors, null) is not null then
        raise exception 'an anchor is null' using errcode = 'PS004';
    end if;
    select a into repeated from unnest(anchors || not_anchors) a group by a having count(*) > 1 order by a limit 1;
    if repeated is not null then
        raise exception 'anchor "%" is given twice', repeated using errcode = 'PS004';
    end if;
    if combine is null or combine not in ('nearest', 'mean', 'centroid') then
        raise exception 'combine "%": nearest, mean or centroid', combine using errcode = 'PS004';
    end if;
    if not coalesce(min_score between 0 and 1 and max_score between 0 and 1, false) then
        raise exception 'scores lie between 0 and 1, not % to %', min_score, max_score using errcode = 'PS004';
    end if;
    if min_score > max_score then
        raise exception 'the least score, %, is above the greatest, %', min_score, max_score using errcode = 'PS004';
    end if;
    if max_rows < 0 then
        raise exception 'max_rows is %: it cannot be negative', max_rows using errcode = 'PS004';
    end if;
    if kind.state <> 'searchable' then
        execute format('select count(*) from pgsim.%I', table_name) into missing;
        missing := greatest(case kind.origin when 'custom' then place.min_vectors else 1 end - missing, 0);
        raise exception 'embedding type "%" is still collecting: % more vectors are needed', kind.name, missing
            using errcode = 'PS005',
            hint = case when missing > 0 then 'import them'
                else format('take the step: pgsim embeddings build "%s"', kind.name) end;
    end if;
    positives := pgsim.anchor_vectors(kind, anchors);
    negatives := pgsim.anchor_vectors(kind, not_anchors);
    centroid := (select @vector@.avg(p) from unnest(positives) p);
    if kind.metric = 'cosine' and combine = 'centroid' and @vector@.vector_norm(centroid) not between 1e-18 and 1e18 then
        raise exception 'the centroid of the anchors has no cosine distance: its norm must lie between 1e-18 and 1e+18'
            using errcode = 'PS004';
    end if;
    select b.closest, b.farthest into closest, farthest
    from pgsim.distance_bounds(min_score, max_score, kind.score_half, kind.score_power) b;

    operator := format(
        'operator(@vector@.%s)', case kind.metric when 'l1' then '<+>' when 'l2' then '<->' else '<=>' end
    );
    select string_agg(format('(e.vector %s ($1)[%s])', operator, i), ', ' order by i) into individual
    from generate_subscripts(positives, 1) i;
    if cardinality(positives) > 1 then
        nearest := format(
            '(select x.i from unnest(array[%s]) with ordinality x (d, i) order by x.d, x.i limit 1)', individual
        );
    end if;
    combined := case
        when cardinality(positives) = 1 then individual
        when combine = 'nearest' then format('least(%s)', individual)
        when combine = 'centroid' then format('(e.vector %s $3)', operator)
        else format('(%s) / %s', replace(individual, ', ', ' + '), cardinality(positives))
    end;
    if farthest < 'infinity' then
        condition := condition || format(' and %s <= $5', combined);
    end if;
    if closest > 0 then
        condition := condition || format(' and %s >= $4', combined);
    end if;
    if cardinality(negatives) > 0 then
        condition := condition || format(
            ' and least(%s) >= least(%s)',
            (select string_agg(format('(e.vector %s ($2)[%s])', operator, i), ', ' order by i)
             from generate_subscripts(negatives, 1) i),
            individual
        );
    end if;
    body := format(
        'select s.data_row_id, s.distance, %s::int as nearest from ('
        'select e.data_row_id, %s as distance from %%s where true%s order by 2, 1 limit $6) s',
        case when nearest = '1' then '1' else 'n.nearest' end, combined, condition
    );
    if nearest <> '1' then
        body := body || format(
            ' cross join lateral (select %s as nearest from pgsim.%I e where e.data_row_id = s.data_row_id) n',
            nearest, table_name
        );
    end if;
    body := body || ' order by s.distance, s.data_row_id';

    select case when c.reltuples > 0 then c.reltuples else 0 end into row_count
    from pg_class c where c.oid = format('pgsim.%I', table_name)::regclass;
    select w.* into plan
    from pgsim.index_walk(kind, row_count, max_rows, cardinality(positives), combine, closest, farthest) w
    where max_rows is distinct from 0;
    if plan.ef_search is not null then
        -- Only the order of distances shows where a range ends.
        bounded := farthest < 'infinity' and kind.index_kind <> 'compact';
        -- What negatives leave out counts for no page.
        pruned := plan.keep is not null and cardinality(negatives) = 0;
        limited := pruned and bounded;
        last := case when limited then 'k' when bounded then 's' else 'w' end;
        -- One walk for each anchor, or around their mean. Where the range ends, a count that only rises ends the walk a
        -- little beyond it. A walk that may end sooner hides its limit from the server, which would take it for what is
        -- wanted.
        select
            string_agg(
                format(
                    'w%1$s as materialized (select e.data_row_id, e.vector %2$s %3$s as distance from pgsim.%4$I e%5$s'
                    ' order by %6$s %7$s %8$s limit %9$s)',
                    i, operator, w.anchor, table_name, ' where e.load_mark is distinct from ' || kind.unindexed_mark,
                    format(kind.index_operand, 'e.vector'),
                    case kind.index_kind when 'compact' then 'operator(@vector@.<~>)' else operator end,
                    format(kind.index_operand, w.anchor),
                    case when bounded then format('(select %s)', plan.at_most) else plan.at_most::text end
                )
                || case when bounded then format(
                    ', s%1$s as materialized (select x.* from (select w.*, count(*) filter (where w.distance > $5)'
                    ' over (rows unbounded preceding) as beyond from w%1$s w) x where x.beyond <= 20)', i
                ) else '' end
                || case when limited then format(
                    ', k%1$s as materialized (select data_row_id, distance from s%1$s limit %2$s)', i, plan.keep
                ) else '' end,
                ', ' order by i
            ),
            string_agg(format('select data_row_id, distance from %s%s', last, i), ' union all ' order by i),
            case when bounded then format(
                'case when count(*) < coalesce($6, count(*) + 1) then (select min(beyond) >= 20 from (%s) ends) end',
                string_agg(format('select coalesce(max(beyond), 0) as beyond from s%s', i), ' union all ' order by i)
            ) else 'false' end,
            -- A walk from a row that did not meet the row went wrong; of others landmarks may show it.
            string_agg(format(
                '(select case when w.distance > %3$s then true when w.distance > $7 then pgsim.astray(%4$s, %5$s, w.distance)'
                ' else false end from (select min(x.distance) as distance from (select * from w%1$s limit %2$s) x) w)',
                i, case kind.index_kind when 'compact' then plan.keep else 20 end,
                case
                    when combine = 'centroid' and cardinality(positives) > 1 then '''infinity'''
                    when kind.metric = 'cosine' then '1e-6'
                    else '0'
                end, kind.id, w.anchor
            ), ' or ' order by i)
        into walks, source, ends, strayed
        from generate_series(1, case combine when 'centroid' then 1 else cardinality(positives) end) i
        cross join lateral (select case when combine = 'centroid' then '$3' else format('($1)[%s]', i) end) w (anchor);
        -- Several walks end where the page does, as far as the first that they met show it.
        if pruned and combine = 'nearest' and kind.index_kind <> 'compact' then
            first := pgsim.first_look(max_rows, cardinality(positives), plan.keep);
        end if;
        if first is not null then
            select
                walks || format(
                    ', p as materialized (select coalesce((select x.distance from (select min(u.distance) as distance'
                    ' from (%s) u group by u.data_row_id) x order by 1 offset $6 - 1 limit 1), ''infinity'') as distance)',
                    string_agg(
                        format('(select data_row_id, distance from %s%s limit %s)', last, i, first),
                        ' union all ' order by i
                    )
                ) || string_agg(
                    format(
                        ', c%1$s as (select x.data_row_id, x.distance from (select c.data_row_id, c.distance, count(*)'
                        ' filter (where c.distance > p.distance) over (rows unbounded preceding) as beyond'
                        ' from %2$s%1$s c cross join p) x where x.beyond <= 20)', i, last
                    ), '' order by i
                ),
                string_agg(format('select data_row_id, distance from c%s', i), ' union all ' order by i)
            into walks, source
            from generate_subscripts(positives, 1) i;
        end if;
        -- Of what several walks found the nearest to what they were around are compared by all anchors, each row once.
        source := format(
            '(select u.data_row_id from (%s) u group by u.data_row_id%s) c join pgsim.%I e on e.data_row_id = c.data_row_id',
            source, case when pruned then format(' order by min(u.distance), u.data_row_id limit %s', plan.keep) end,
            table_name
        );
        saved := array[current_setting('hnsw.ef_search', true), current_setting('hnsw.iterative_scan', true)];
        perform set_config('hnsw.ef_search', plan.ef_search::text, true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true);
        execute format(
            'with %s select array_agg(f.data_row_id order by f.distance, f.data_row_id),'
            ' array_agg(f.distance order by f.distance, f.data_row_id),'
            ' array_agg(f.nearest order by f.distance, f.data_row_id), %s, %s from (%s) f',
            walks, ends, strayed, format(body, source)
        ) into found_ids, found_distances, found_anchors, ended, astray
        using positives, negatives, centroid, closest, farthest, max_rows,
            coalesce((kind.search_settings ->> 'usual_nearest')::float8, 'infinity');
        perform set_config('hnsw.ef_search', saved[1], true), set_config('hnsw.iterative_scan', saved[2], true);
        -- A full page, or a range that every walk went beyond.
        if (cardinality(found_ids) = max_rows or ended) and not astray then
            return query
            select f.id, pgsim.score(f.d, kind.score_half, kind.score_power), f.d, anchors[f.a]
            from unnest(found_ids, found_distances, found_anchors) with ordinality f (id, d, a, position)
            order by f.position;
            return;
        end if;
        -- The index did not show all that may be in range: finish exactly.
    end if;
    return query execute format(
        'select f.data_row_id, pgsim.score(f.distance, $8, $9), f.distance, ($7)[f.nearest] from (%s) f'
        ' order by f.distance, f.data_row_id', format(body, format('pgsim.%I e', table_name))
    )
    using positives, negatives, centroid, closest, farthest, max_rows,
        anchors, kind.score_half, kind.score_power;
end
$$;

comment on function pgsim.similar(text, text, text[], float8, float8, int, text[], text) is
    'Data rows similar to the anchor rows, most similar first: id, score, distance and individually nearest anchor.';

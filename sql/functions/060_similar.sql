drop function if exists pgsim.prefers_index(float8, int, int, int, text, float8, float8);

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

-- Which plan answers a search: the same choice as pgsim.query.plan.choose, which a test compares over a grid. No rows:
-- an exact scan. The numbers are those of that module, with their reasons there.
create or replace function pgsim.index_candidates(
    kind pgsim.embedding_type, vectors float8, wanted int, anchors int, combine text, closest float8, farthest float8,
    out candidates int, out ef_search int
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
    ordered boolean := kind.index_kind <> 'compact';
    in_range float8;
    need float8;
    walk float8;
begin
    if kind.index_operand is null or ef_10 is null or ef_100 is null or walk_10 is null or walk_100 is null
        or scan_us is null or closest > 0 or (combine = 'mean' and anchors > 1) then
        return;
    end if;
    need := coalesce(wanted + 1, 'infinity'::float8);
    if farthest < 'infinity' then
        in_range := vectors * pgsim.share_within(kind.calibration -> 'quantiles', farthest);
        if ordered then
            need := least(need, 1.5 * in_range + 50);
        elsif wanted is null or in_range < 1.5 * (wanted + 1) then
            return;
        end if;
    end if;
    need := need + 10;
    if need > 1000 then
        return;
    end if;
    candidates := ceil(need);
    ef_search := greatest(
        candidates, ceil(case when candidates <= 21 then ef_10 else ef_100 * greatest(candidates / 100.0, 1) end)
    );
    if not ordered then
        candidates := ef_search;
    end if;
    walk := greatest(
        walk_10 + greatest(walk_100 - walk_10, 0) / greatest(ef_100 - ef_10, 1) * (ef_search - ef_10), 0.5 * walk_10
    );
    if ef_search > 1000 or (case combine when 'centroid' then 1 else anchors end) * walk + 1.0
        >= vectors * scan_us / 1000 * (1 + 0.6 * (anchors - 1)) then
        return;
    end if;
    return next;
end
$$;

comment on function pgsim.index_candidates(pgsim.embedding_type, float8, int, int, text, float8, float8) is
    'Candidates to take from each walk through the index, and the ef_search for it; no row where an exact scan is better.';

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
    reach float8;
    candidates int;
    ef int;
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
    if max_rows is distinct from 0 then
        select c.candidates, c.ef_search into candidates, ef
        from pgsim.index_candidates(
            kind, row_count, max_rows, cardinality(positives), combine, closest, farthest
        ) c;
    end if;
    if candidates is not null then
        -- One walk for each anchor, or around their mean; what the walks found is compared by exact distances.
        select
            string_agg(format(
                'w%s as materialized (select e.data_row_id, e.vector %s %s as distance from pgsim.%I e%s order by %s %s %s'
                ' limit %s)', i, operator, w.anchor, table_name,
                ' where e.load_mark is distinct from ' || kind.unindexed_mark, format(kind.index_operand, 'e.vector'),
                case kind.index_kind when 'compact' then 'operator(@vector@.<~>)' else operator end,
                format(kind.index_operand, w.anchor), candidates
            ), ', ' order by i),
            string_agg(format('select data_row_id from w%s', i), ' union ' order by i),
            string_agg(format('select max(distance) as reach from w%s', i), ' union all ' order by i)
        into walks, source, ends
        from generate_series(1, case combine when 'centroid' then 1 else cardinality(positives) end) i
        cross join lateral (select case when combine = 'centroid' then '$3' else format('($1)[%s]', i) end) w (anchor);
        source := format('(%s) c join pgsim.%I e on e.data_row_id = c.data_row_id', source, table_name);
        saved := array[current_setting('hnsw.ef_search', true), current_setting('hnsw.iterative_scan', true)];
        perform set_config('hnsw.ef_search', ef::text, true), set_config('hnsw.iterative_scan', 'relaxed_order', true);
        execute format(
            'with %s select array_agg(f.data_row_id order by f.distance, f.data_row_id),'
            ' array_agg(f.distance order by f.distance, f.data_row_id),'
            ' array_agg(f.nearest order by f.distance, f.data_row_id), (select min(reach) from (%s) ends) from (%s) f',
            walks, ends, format(body, source)
        ) into found_ids, found_distances, found_anchors, reach
        using positives, negatives, centroid, closest, farthest, max_rows;
        perform set_config('hnsw.ef_search', saved[1], true), set_config('hnsw.iterative_scan', saved[2], true);
        -- A full page, or a range that every walk went beyond, in the order of distances.
        if cardinality(found_ids) = max_rows
            or (farthest < 'infinity' and reach > farthest and kind.index_kind <> 'compact') then
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

-- name: create_reported_values
-- Each value of each field once, with the rows that have it.
create temp table reported_value (field text collate "C" not null, value jsonb not null, rows bigint not null)
on commit drop;

-- name: create_reported_digests
-- What rows are compared by for equality: their content (origin 0) or their vector of an embedding type (its id).
create temp table reported_digest (
    origin bigint not null, data_row_id text collate "C" not null, digest bytea not null, norm float8
) on commit drop;

-- name: report_counts
-- Of the workspace, and of the rows that the report is about.
select r.asset_type, count(*) as workspace_rows, count(c.data_row_id) as rows
from pgsim.data_row r
left join pg_temp.chosen_row c on c.data_row_id = r.id
where r.workspace_id = %(workspace_id)s
group by r.asset_type
order by rows desc, workspace_rows desc, r.asset_type;

-- name: report_ages
select min(r.created_at), max(r.created_at), max(r.updated_at)
from pg_temp.chosen_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id;

-- name: fill_reported_values
insert into pg_temp.reported_value (field, value, rows)
select v.field, v.value, count(*)
from pg_temp.chosen_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
cross join lateral (
    select 'dataset', to_jsonb(r.dataset)
    union all
    select 'metadata.' || m.key, m.value from jsonb_each(r.metadata) m
    union all
    select 'media.' || m.key, m.value from jsonb_each(r.media) m
) v (field, value)
where jsonb_typeof(v.value) <> 'null'
group by v.field, v.value;

-- name: report_fields
-- The row's own first, then metadata, then media; a declared field also where no row has it.
with counted as (
    select v.field, jsonb_typeof(v.value) as type, sum(v.rows)::bigint as rows, count(*) as values
    from pg_temp.reported_value v
    group by 1, 2
),
summed as (
    select c.field, sum(c.rows)::bigint as rows, sum(c.values)::bigint as values,
        jsonb_object_agg(c.type, c.rows) as types
    from counted c
    group by c.field
),
declared as (
    select 'metadata.' || f.name as field, f.kind from pgsim.metadata_field f where f.workspace_id = %(workspace_id)s
)
select coalesce(s.field, d.field) as field, coalesce(s.rows, 0) as rows, coalesce(s.values, 0) as values,
    coalesce(s.types, '{}') as types, d.kind as declared, count(*) over () as fields
from summed s
full join declared d on d.field = s.field
order by coalesce(s.field, d.field) like 'media.%%', coalesce(s.field, d.field) like 'metadata.%%', rows desc, field
limit %(limit)s;

-- name: report_top_values
select t.field, jsonb_typeof(t.value), left(t.value #>> '{}', %(characters)s), t.rows
from (
    select v.*, row_number() over (partition by v.field order by v.rows desc, v.value) as place
    from pg_temp.reported_value v
    where v.field = any(%(fields)s)
) t
where t.place <= %(shown)s
order by t.field, t.place;

-- name: reported_numbers
-- JSON numbers know no bounds, double precision does.
select v.field, case
        when abs(n.number) > 1e100 then sign(n.number)::float8 * 1e100
        when abs(n.number) < 1e-100 then 0
        else n.number::float8
    end as number, v.rows
from pg_temp.reported_value v
cross join lateral (
    select case when jsonb_typeof(v.value) = 'number' then (v.value #>> '{}')::numeric end as number
) n
where v.field = any(%(fields)s) and n.number is not null

-- name: reported_times
-- In seconds; texts that are no times are left out.
select v.field, extract(epoch from pgsim.instant(v.value #>> '{}'))::float8 as number, v.rows
from pg_temp.reported_value v
where v.field = any(%(fields)s) and jsonb_typeof(v.value) = 'string' and pgsim.instant(v.value #>> '{}') is not null

-- name: reported_norms
select d.origin::text as field, d.norm as number, 1 as rows
from pg_temp.reported_digest d
where d.origin = any(%(origins)s)

-- name: summarise_numbers
-- Quantiles are numbers that occur: the least one that so large a share of the rows is at or below.
with number as materialized ({numbers}),
placed as (
    select n.field, n.number, n.rows, sum(n.rows) over (partition by n.field order by n.number) as below,
        sum(n.rows) over (partition by n.field) as total
    from number n
),
summed as (
    select p.field, max(p.total)::bigint as rows, min(p.number) as low, max(p.number) as high,
        sum(p.number * p.rows) / max(p.total)::float8 as mean, least(count(distinct p.number), %(bins)s)::int as bins,
        array[
            min(p.number) filter (where p.below >= 0.05 * p.total),
            min(p.number) filter (where p.below >= 0.25 * p.total),
            min(p.number) filter (where p.below >= 0.5 * p.total),
            min(p.number) filter (where p.below >= 0.75 * p.total),
            min(p.number) filter (where p.below >= 0.95 * p.total)
        ] as quantiles
    from placed p
    group by p.field
),
binned as (
    select n.field, least(floor((n.number - s.low) / nullif(s.high - s.low, 0) * s.bins), s.bins - 1)::int as bin,
        sum(n.rows)::bigint as rows
    from number n
    join summed s on s.field = n.field
    group by 1, 2
)
select s.field, s.rows, s.low, s.high, s.mean, s.quantiles, array(
    select coalesce(b.rows, 0)
    from generate_series(0, s.bins - 1) g (bin)
    left join binned b on b.field = s.field and coalesce(b.bin, 0) = g.bin
    order by g.bin
) as bins
from summed s;

-- name: fill_content_digests
insert into pg_temp.reported_digest (origin, data_row_id, digest)
select 0, r.id, sha256(convert_to(r.content, 'UTF8'))
from pg_temp.chosen_row c
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
where r.content is not null;

-- name: fill_vector_digests
insert into pg_temp.reported_digest (origin, data_row_id, digest, norm)
select %(embedding_type_id)s, e.data_row_id, sha256(vector_send(e.vector)), vector_norm(e.vector)
from {partition} e
join pg_temp.chosen_row c on c.data_row_id = e.data_row_id;

-- name: report_coverage
select r.asset_type, count(*)
from pg_temp.reported_digest d
join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = d.data_row_id
where d.origin = %(origin)s
group by r.asset_type;

-- name: report_equal_counts
-- Groups of equal ones, and the rows in them; and the zero vectors.
select count(*) filter (where g.rows > 1), coalesce(sum(g.rows) filter (where g.rows > 1), 0)::bigint,
    coalesce(sum(g.rows), 0)::bigint, coalesce(sum(g.rows) filter (where g.norm = 0), 0)::bigint
from (
    select count(*) as rows, min(d.norm) as norm
    from pg_temp.reported_digest d
    where d.origin = %(origin)s
    group by d.digest
) g;

-- name: report_equal_groups
-- The largest groups; of each the oldest rows, the first of which is the one to keep.
with largest as (
    select d.digest, count(*) as size, row_number() over (order by count(*) desc, min(d.data_row_id)) as place
    from pg_temp.reported_digest d
    where d.origin = %(origin)s
    group by d.digest
    having count(*) > 1
    order by place
    limit %(groups)s
)
select m.place, m.size, m.data_row_id
from (
    select g.place, g.size, d.data_row_id,
        row_number() over (partition by g.place order by r.created_at, d.data_row_id) as number
    from largest g
    join pg_temp.reported_digest d on d.origin = %(origin)s and d.digest = g.digest
    join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = d.data_row_id
) m
where m.number <= %(shown)s
order by m.place, m.number;

-- name: draw_reported_rows
-- Equal vectors once; by lot, as select draws.
select d.data_row_id
from (
    select min(d.data_row_id) as data_row_id from pg_temp.reported_digest d where d.origin = %(origin)s group by d.digest
) d
order by sha256(convert_to('0:' || d.data_row_id, 'UTF8')), d.data_row_id
limit %(limit)s;

-- name: nearest_reported_vectors
-- In the order of the index, which only what the index covers can be read from; the distances are those of the vectors
-- as stored.
select a.data_row_id, n.data_row_id, n.distance
from unnest(%(ids)s::text[]) a (data_row_id)
join {partition} x on x.data_row_id = a.data_row_id
cross join lateral (
    select e.data_row_id, e.vector {operator} x.vector as distance
    from {partition} e
    where {covered}
    order by {theirs} {index_operator} {own}
    limit {limit}
) n;

-- name: rows_among_chosen
select c.data_row_id from pg_temp.chosen_row c where c.data_row_id = any(%(ids)s);

-- name: report_run
-- The newest run that has any of the rows, or the one that is named.
select v.id, v.run as name, v.embedding, v.method, v.settings ->> 'label' as label_field, v.row_count as run_rows,
    v.created_at
from pgsim.cluster_runs v
join pgsim.cluster_run r on r.id = v.id
where r.workspace_id = %(workspace_id)s and case
        when %(run_id)s::bigint is not null then r.id = %(run_id)s
        else exists (
            select from pgsim.clustered_row c join pg_temp.chosen_row k on k.data_row_id = c.data_row_id
            where c.run_id = r.id
        )
    end
order by r.created_at desc, r.id desc
limit 1;

-- name: report_clusters
-- Only the rows that the report is about; those of a run that were deleted since are none of them.
with member as (
    select c.cluster, c.label, count(*) as rows
    from pgsim.clustered_row c
    join pg_temp.chosen_row k on k.data_row_id = c.data_row_id
    where c.run_id = %(run_id)s
    group by 1, 2
),
ranked as (
    select m.*, row_number() over (partition by m.cluster, m.label is null order by m.rows desc, m.label) as place
    from member m
)
select r.cluster as number, sum(r.rows)::bigint as rows,
    coalesce(sum(r.rows) filter (where r.label is not null), 0)::bigint as labelled,
    coalesce(
        jsonb_agg(jsonb_build_array(r.label, r.rows) order by r.place) filter (
            where r.label is not null and r.place <= %(labels)s
        ),
        '[]'
    ) as labels
from ranked r
group by r.cluster
order by r.cluster < 0, rows desc, r.cluster;

-- name: report_cluster_samples
-- Nearest to the centre, and farthest from it.
select k.number, s.edge, s.data_row_id, s.label, s.distance
from unnest(%(clusters)s::int[]) k (number)
cross join lateral (
    (
        select false as edge, c.data_row_id, c.label, c.distance
        from pgsim.clustered_row c
        join pg_temp.chosen_row r on r.data_row_id = c.data_row_id
        where c.run_id = %(run_id)s and c.cluster = k.number
        order by c.distance, c.data_row_id
        limit %(shown)s
    )
    union all
    (
        select true as edge, c.data_row_id, c.label, c.distance
        from pgsim.clustered_row c
        join pg_temp.chosen_row r on r.data_row_id = c.data_row_id
        where c.run_id = %(run_id)s and c.cluster = k.number
        order by c.distance desc, c.data_row_id
        limit %(shown)s
    )
) s
order by k.number, s.edge, case when s.edge then -s.distance else s.distance end, s.data_row_id;

-- name: report_judged
select count(c.outlier), count(*) filter (where c.outlier > %(outlier)s), count(c.disagreement),
    count(*) filter (where c.disagreement >= %(disagreement)s)
from pgsim.clustered_row c
join pg_temp.chosen_row k on k.data_row_id = c.data_row_id
where c.run_id = %(run_id)s;

-- name: report_strange_rows
select c.data_row_id, c.cluster, c.label, c.outlier, c.disagreement
from pgsim.clustered_row c
join pg_temp.chosen_row k on k.data_row_id = c.data_row_id
where c.run_id = %(run_id)s and c.{column} > 0
order by c.{column} desc, c.data_row_id
limit %(shown)s;

-- name: report_places
-- Of many rows, those that are first by lot.
select c.cluster, c.x, c.y
from pgsim.clustered_row c
join pg_temp.chosen_row k on k.data_row_id = c.data_row_id
where c.run_id = %(run_id)s
order by sha256(convert_to(c.data_row_id, 'UTF8')), c.data_row_id
limit %(limit)s;

-- name: report_samples
-- Contents are read whole only where a picture may be in them.
select r.id, r.asset_type, r.uri, left(r.content, %(characters)s),
    coalesce(r.content like 'data:%%', false) as inline,
    case when r.content like 'data:%%' and octet_length(r.content) <= %(bytes)s then r.content end, r.media
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)s)
order by r.id;

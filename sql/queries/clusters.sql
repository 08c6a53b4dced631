-- name: list_cluster_runs
select {columns}
from pgsim.cluster_runs v
join pgsim.cluster_run r on r.id = v.id
where r.workspace_id = %(workspace_id)s and (%(run_id)s::bigint is null or r.id = %(run_id)s)
order by r.name;

-- name: insert_cluster_run
-- Without a name it is called by its number.
with made as (select nextval(pg_get_serial_sequence('pgsim.cluster_run', 'id')) as id)
insert into pgsim.cluster_run (id, workspace_id, name, embedding_type_id, method)
overriding system value
select m.id, %(workspace_id)s, coalesce(%(name)s::text, 'run-' || m.id), %(embedding_type_id)s, %(method)s from made m
returning id;

-- name: set_cluster_run
update pgsim.cluster_run set settings = %(settings)s where id = %(run_id)s;

-- name: labels_of_rows
select r.id, {label} from pgsim.data_row r where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)s);

-- name: create_judged_rows
create temp table judged_row (
    data_row_id text collate "C" not null, found int not null, distance float8 not null, x float8 not null,
    y float8 not null, outlier float8, label text, disagreement float8
) on commit drop;

-- name: copy_judged_rows
copy pg_temp.judged_row (data_row_id, found, distance, x, y, outlier, label, disagreement) from stdin;

-- name: number_clusters
-- The largest first, as `select cluster` counts them.
create temp table numbered_cluster on commit drop as
select j.found, count(*)::int as size, case
    when j.found < 0 then -1
    else row_number() over (order by j.found < 0, count(*) desc, min(j.data_row_id))::int - 1
end as number
from pg_temp.judged_row j
group by j.found;

-- name: insert_clusters
with counted as (
    select j.found, j.label, count(*) as agreeing from pg_temp.judged_row j where j.label is not null group by 1, 2
),
most as (
    select distinct on (c.found) c.found, c.label, c.agreeing, sum(c.agreeing) over (partition by c.found) as labelled
    from counted c
    order by c.found, c.agreeing desc, c.label collate "C"
)
insert into pgsim.cluster (run_id, number, size, labelled, label, purity)
select %(run_id)s, n.number, n.size, coalesce(m.labelled, 0), m.label, m.agreeing / m.labelled::float8
from pg_temp.numbered_cluster n
left join most m on m.found = n.found;

-- name: insert_clustered_rows
insert into pgsim.clustered_row (run_id, data_row_id, cluster, distance, x, y, outlier, label, disagreement)
select %(run_id)s, j.data_row_id, n.number, j.distance, j.x, j.y, j.outlier, j.label, j.disagreement
from pg_temp.judged_row j
join pg_temp.numbered_cluster n on n.found = j.found;

-- name: list_clusters
-- The rows nearest to the centre, and those farthest from it.
select c.number, c.size, c.labelled, c.label, c.purity, near.ids as representatives, far.ids as edges
from pgsim.cluster c
cross join lateral (
    select array_agg(r.data_row_id order by r.distance, r.data_row_id) as ids
    from (
        select data_row_id, distance from pgsim.clustered_row
        where run_id = c.run_id and cluster = c.number
        order by distance, data_row_id
        limit %(shown)s
    ) r
) near
cross join lateral (
    select array_agg(r.data_row_id order by r.distance desc, r.data_row_id) as ids
    from (
        select data_row_id, distance from pgsim.clustered_row
        where run_id = c.run_id and cluster = c.number
        order by distance desc, data_row_id
        limit %(shown)s
    ) r
) far
where c.run_id = %(run_id)s
order by c.number < 0, c.number;

-- name: list_clustered_rows
select r.data_row_id, r.cluster, r.distance, r.x, r.y, r.outlier, r.label, r.disagreement
from pgsim.clustered_row r
where r.run_id = %(run_id)s and (%(cluster)s::int is null or r.cluster = %(cluster)s)
order by {order}, r.data_row_id
limit %(limit)s;

-- name: pictures_of_rows
select r.id as data_row_id, r.uri, r.content, r.media
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s and r.id = any(%(ids)s);

-- name: mapped_rows
-- Of many rows, those that are first by lot.
select *
from (
    select c.data_row_id, c.cluster, c.x, c.y, c.outlier, c.label, c.disagreement, r.asset_type, r.dataset, r.uri,
        r.metadata
    from pgsim.clustered_row c
    join pgsim.data_row r on r.workspace_id = %(workspace_id)s and r.id = c.data_row_id
    where c.run_id = %(run_id)s
    order by sha256(convert_to(c.data_row_id, 'UTF8')), c.data_row_id
    limit %(limit)s
) m
order by m.data_row_id;

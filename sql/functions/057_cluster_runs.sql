-- Cluster runs as SQL users read them. A run is made as a whole; a slice that refers to one keeps it.

create or replace function pgsim.check_cluster_run() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and new.workspace_id <> old.workspace_id then
        raise exception 'cluster run "%" cannot move to another workspace', old.name using errcode = 'PS004';
    end if;
    if new.embedding_type_id is not null and not exists (
        select from pgsim.embedding_type t where t.id = new.embedding_type_id and t.workspace_id = new.workspace_id
    ) then
        raise exception 'cluster run "%" is over an embedding type of another workspace', new.name
            using errcode = 'PS004';
    end if;
    return new;
end
$$;

comment on function pgsim.check_cluster_run() is 'Trigger: a cluster run and its embedding type are of one workspace.';

create or replace trigger check_cluster_run
before insert or update on pgsim.cluster_run
for each row execute function pgsim.check_cluster_run();

comment on trigger check_cluster_run on pgsim.cluster_run is 'Run and embedding type are of one workspace.';

create or replace view pgsim.clusters with (security_invoker = true) as
select w.name as workspace, r.name as run, c.number as cluster, c.size, c.labelled, c.label, c.purity
from pgsim.cluster c
join pgsim.cluster_run r on r.id = c.run_id
join pgsim.workspace w on w.id = r.workspace_id;

comment on view pgsim.clusters is 'The clusters of every cluster run.';
comment on column pgsim.clusters.workspace is 'Name of the workspace.';
comment on column pgsim.clusters.run is 'Name of the cluster run.';
comment on column pgsim.clusters.cluster is 'From 0, the largest first; -1 is what is in no cluster.';
comment on column pgsim.clusters.size is 'Its rows.';
comment on column pgsim.clusters.labelled is 'Its rows that have a label.';
comment on column pgsim.clusters.label is 'Their most common label.';
comment on column pgsim.clusters.purity is 'The share of the labelled rows that have that label.';

create or replace view pgsim.cluster_runs with (security_invoker = true) as
select
    w.name as workspace, r.name as run, t.name as embedding, r.method, r.settings, c.clusters, c.row_count,
    c.unclustered, c.purity, r.created_at, r.id
from pgsim.cluster_run r
join pgsim.workspace w on w.id = r.workspace_id
left join pgsim.embedding_type t on t.id = r.embedding_type_id
cross join lateral (
    select
        count(*) filter (where c.number >= 0) as clusters, coalesce(sum(c.size), 0) as row_count,
        coalesce(sum(c.size) filter (where c.number < 0), 0) as unclustered,
        sum(c.purity * c.labelled) filter (where c.number >= 0)
            / nullif(sum(c.labelled) filter (where c.number >= 0), 0) as purity
    from pgsim.cluster c
    where c.run_id = r.id
) c;

comment on view pgsim.cluster_runs is 'Every cluster run with the name of its workspace.';
comment on column pgsim.cluster_runs.workspace is 'Name of the workspace.';
comment on column pgsim.cluster_runs.run is 'Name of the cluster run.';
comment on column pgsim.cluster_runs.embedding is 'Name of the embedding type; null where it was deleted since.';
comment on column pgsim.cluster_runs.method is 'kmeans or hdbscan.';
comment on column pgsim.cluster_runs.settings is 'What the run was made with.';
comment on column pgsim.cluster_runs.clusters is 'How many clusters.';
comment on column pgsim.cluster_runs.row_count is 'Data rows in the run.';
comment on column pgsim.cluster_runs.unclustered is 'Those in no cluster.';
comment on column pgsim.cluster_runs.purity is 'The share of the clusters'' labelled rows that have their cluster''s label.';
comment on column pgsim.cluster_runs.created_at is 'When the run was made.';
comment on column pgsim.cluster_runs.id is 'Identifier.';

create or replace view pgsim.rows_of_cluster_run with (security_invoker = true) as
select
    w.name as workspace, r.name as run, c.data_row_id, c.cluster, c.distance, c.x, c.y, c.outlier, c.label,
    c.disagreement
from pgsim.clustered_row c
join pgsim.cluster_run r on r.id = c.run_id
join pgsim.workspace w on w.id = r.workspace_id;

comment on view pgsim.rows_of_cluster_run is 'The data rows of every cluster run; also those that were deleted since.';
comment on column pgsim.rows_of_cluster_run.workspace is 'Name of the workspace.';
comment on column pgsim.rows_of_cluster_run.run is 'Name of the cluster run.';
comment on column pgsim.rows_of_cluster_run.data_row_id is 'The data row''s id.';
comment on column pgsim.rows_of_cluster_run.cluster is 'Number of its cluster; -1 is none.';
comment on column pgsim.rows_of_cluster_run.distance is
    'Euclidean distance to the cluster''s centre, or for -1 to the nearest one.';
comment on column pgsim.rows_of_cluster_run.x is 'Place on the map, to the right.';
comment on column pgsim.rows_of_cluster_run.y is 'Place on the map, upwards.';
comment on column pgsim.rows_of_cluster_run.outlier is
    'Local outlier factor: how much farther from its neighbours than they are from theirs.';
comment on column pgsim.rows_of_cluster_run.label is 'The row''s label when the run was made.';
comment on column pgsim.rows_of_cluster_run.disagreement is
    'The share of its nearest labelled neighbours that have another label.';

create or replace view pgsim.data_rows with (security_invoker = true) as
select
    w.name as workspace, r.id as data_row_id, r.asset_type, r.uri, r.content, r.dataset, r.metadata, r.media,
    r.created_at, r.updated_at
from pgsim.data_row r
join pgsim.workspace w on w.id = r.workspace_id;

comment on view pgsim.data_rows is 'Every data row with the name of its workspace.';
comment on column pgsim.data_rows.workspace is 'Name of the workspace.';
comment on column pgsim.data_rows.data_row_id is 'The row''s id.';
comment on column pgsim.data_rows.asset_type is 'Kind of asset.';
comment on column pgsim.data_rows.uri is 'Where the asset is.';
comment on column pgsim.data_rows.content is 'The asset itself, where it is text and kept inline.';
comment on column pgsim.data_rows.dataset is 'The dataset the asset came with.';
comment on column pgsim.data_rows.metadata is 'The user''s own fields: a JSON object.';
comment on column pgsim.data_rows.media is 'Attributes of the asset, such as width and height.';
comment on column pgsim.data_rows.created_at is 'When the row was made.';
comment on column pgsim.data_rows.updated_at is 'When the row last changed.';

create or replace view pgsim.embeddings_of_row with (security_invoker = true) as
select
    w.name as workspace, e.data_row_id, t.name as embedding, t.id as embedding_type_id, t.dimensions, t.metric,
    e.vector
from pgsim.embedding e
join pgsim.embedding_type t on t.id = e.embedding_type_id
join pgsim.workspace w on w.id = t.workspace_id;

comment on view pgsim.embeddings_of_row is 'Every embedding on a data row: the detail view.';
comment on column pgsim.embeddings_of_row.workspace is 'Name of the workspace.';
comment on column pgsim.embeddings_of_row.data_row_id is 'The data row''s id.';
comment on column pgsim.embeddings_of_row.embedding is 'Name of the embedding type.';
comment on column pgsim.embeddings_of_row.embedding_type_id is 'Id of the embedding type.';
comment on column pgsim.embeddings_of_row.dimensions is 'Length of the vector.';
comment on column pgsim.embeddings_of_row.metric is 'Distance of the embedding type: l1, l2 or cosine.';
comment on column pgsim.embeddings_of_row.vector is 'The vector.';

create or replace view pgsim.slice_changes with (security_invoker = true) as
select
    w.name as workspace, s.name as slice, c.data_row_id, case when c.entered then 'entered' else 'left' end as change,
    c.cause, c.at, c.transaction, c.id
from pgsim.slice_change c
join pgsim.slice s on s.id = c.slice_id
join pgsim.workspace w on w.id = s.workspace_id;

comment on view pgsim.slice_changes is 'What came into the range of slices'' anchors and went out of it, and why.';
comment on column pgsim.slice_changes.workspace is 'Name of the workspace.';
comment on column pgsim.slice_changes.slice is 'Name of the slice.';
comment on column pgsim.slice_changes.data_row_id is 'The data row.';
comment on column pgsim.slice_changes.change is 'entered or left.';
comment on column pgsim.slice_changes.cause is
    'vector: the row''s own; anchor: one was added, removed or has another vector; definition; calibration; deletion.';
comment on column pgsim.slice_changes.at is 'When; the transaction may have been committed a little later.';
comment on column pgsim.slice_changes.transaction is 'The transaction that did it, as notifications on pgsim_slice name it.';
comment on column pgsim.slice_changes.id is 'Identifier; orders the changes of one transaction.';

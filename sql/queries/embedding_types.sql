-- name: create_embedding_type
insert into pgsim.embedding_type (
    workspace_id, name, dimensions, origin, metric, score_half, score_power, model, revision, lineage, asset_types
)
values (
    %(workspace_id)s, %(name)s, %(dimensions)s, %(origin)s, %(metric)s, %(score_half)s, %(score_power)s, %(model)s,
    %(revision)s, %(lineage)s, %(asset_types)s
)
returning {columns};

-- name: list_embedding_types
select {columns} from pgsim.embedding_type where workspace_id = %(workspace_id)s order by name;

-- name: find_embedding_type
select {columns}
from pgsim.embedding_type
where workspace_id = %(workspace_id)s and (name = %(name)s or id::text = %(name)s)
order by name = %(name)s desc
limit 1;

-- name: drop_retired
select pgsim.drop_retired();

-- name: count_embeddings
select count(*) from {partition};

-- name: types_with_vectors_of
-- The searchable types in which every one of these data rows has a vector.
select t.name
from pgsim.embedding_type t
join pgsim.embedding e on e.embedding_type_id = t.id
where t.workspace_id = %(workspace_id)s and t.state = 'searchable' and e.data_row_id = any(%(ids)s)
group by t.name
having count(*) = cardinality(%(ids)s)
order by t.name;

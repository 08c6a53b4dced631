-- name: create_row_staging
-- Vectors that came with a row stand beside it until the row is stored.
create temp table import_line (
    line bigint not null, document text not null, types bigint[], vectors {vector}[]
) on commit drop;

-- name: plain_row_staging
alter table pg_temp.import_line alter column vectors set storage external;

-- name: create_checked_rows
create temp table import_row (
    line bigint not null, id text collate "C", fields jsonb, reason text, superseded boolean not null default false
) on commit drop;

-- name: copy_row_lines
copy pg_temp.import_line (line, document, types, vectors) from stdin (format binary);

-- name: check_rows
-- One reason for each line that cannot be taken, the first that applies. `case` guards the casts; `offset 0` keeps each
-- subquery from being merged into those that use it, which would parse a document anew for every mention (ten times
-- slower, measured).
insert into pg_temp.import_row (line, id, fields, reason)
select
    p.line, case when r.reason is null or p.fields ? 'id' then i.id end,
    case when r.reason is null then p.fields end, r.reason
from (
    select
        l.line, l.document,
        case when pg_input_is_valid(l.document, 'jsonb') then l.document::jsonb end as fields
    from pg_temp.import_line l
    offset 0
) p
cross join lateral (
    select
        case
            when jsonb_typeof(p.fields) <> 'object' then null
            when jsonb_typeof(p.fields -> 'id') in ('string', 'number') then p.fields ->> 'id'
            when not p.fields ? 'id' then gen_random_uuid()::text
        end as id
    offset 0
) i
cross join lateral (
    select
        case
            when p.fields is null then (
                select 'not storable as JSON: ' || e.message || coalesce('; ' || e.detail, '')
                from pg_input_error_info(p.document, 'jsonb') e
            )
            when jsonb_typeof(p.fields) <> 'object' then
                'holds a value that is no object: one JSON object a line is needed'
            when p.fields - %(keys)s::text[] <> jsonb_build_object() then (
                select 'unknown key ' || to_json(left(k, 60))::text || ': the keys are ' || array_to_string(%(keys)s::text[], ', ')
                from jsonb_object_keys(p.fields - %(keys)s::text[]) k
                order by k
                limit 1
            )
            when i.id is null then
                'the id is ' || jsonb_typeof(p.fields -> 'id') || ': a text or a number is needed'
            when i.id = '' then 'the id is empty'
            when char_length(i.id) > 200 then 'the id has ' || char_length(i.id) || ' characters: at most 200'
            when p.fields ? 'asset_type' and jsonb_typeof(p.fields -> 'asset_type') <> 'string' then
                'asset_type is ' || jsonb_typeof(p.fields -> 'asset_type') || ': a text is needed'
            when p.fields ? 'asset_type' and p.fields ->> 'asset_type' <> all (%(asset_types)s::text[]) then
                'asset_type is ' || to_json(left(p.fields ->> 'asset_type', 60))::text || ': one of '
                || array_to_string(%(asset_types)s::text[], ', ')
            when not p.fields ?| array['id', 'asset_type'] then 'asset_type is missing: a new row needs one'
            else (
                select
                    k.key || ' is ' || replace(replace(jsonb_typeof(p.fields -> k.key), 'array', 'an array'), 'object', 'an object')
                    || ': ' || k.needed || ' is needed'
                from (
                    values ('uri', 'string', 'a text'), ('content', 'string', 'a text'), ('dataset', 'string', 'a text'),
                        ('metadata', 'object', 'an object'), ('media', 'object', 'an object'),
                        ('created_at', 'string', 'a time as text')
                ) k (key, kind, needed)
                where jsonb_typeof(p.fields -> k.key) not in (k.kind, 'null')
                limit 1
            )
        end as reason
    offset 0
) r;

-- name: check_row_times
update pg_temp.import_row s
set
    fields = null,
    reason = 'created_at is ' || to_json(left(s.fields ->> 'created_at', 60))::text
        || ': a time such as 2024-05-31T12:00:00Z, of the years 1 to 9999, is needed'
where jsonb_typeof(s.fields -> 'created_at') = 'string'
    and not case
        when s.fields ->> 'created_at' !~ '^\s*[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]([T ][0-9:.,]+ *(Z|z|[-+][0-9:]+)?)?\s*$' then false
        when not pg_input_is_valid(s.fields ->> 'created_at', 'timestamp with time zone') then false
        else (s.fields ->> 'created_at')::timestamptz >= '0001-01-01 00:00:00+00'
            and (s.fields ->> 'created_at')::timestamptz < '10000-01-01 00:00:00+00'
    end;

-- name: check_row_metadata
update pg_temp.import_row s
set fields = null, reason = f.reason
from (
    select distinct on (r.line)
        r.line, pgsim.metadata_fault(d.name, r.fields -> 'metadata' -> d.name, d.kind, d.options) as reason
    from pgsim.metadata_field d
    cross join pg_temp.import_row r
    where d.workspace_id = %(workspace_id)s
        and not pgsim.metadata_conforms(r.fields -> 'metadata' -> d.name, d.kind, d.options)
    order by r.line, d.name
) f
where s.line = f.line;

-- name: index_checked_rows
create index on pg_temp.import_row (id, line) where reason is null;

-- name: check_new_rows
-- A new row needs an asset type, from this line or from an earlier one of the same file.
update pg_temp.import_row s
set fields = null, reason = 'asset_type is missing: a new row needs one'
where s.reason is null
    and not s.fields ? 'asset_type'
    and not exists (select from pgsim.data_row r where r.workspace_id = %(workspace_id)s and r.id = s.id)
    and not exists (
        select from pg_temp.import_row b
        where b.id = s.id and b.line < s.line and b.reason is null and b.fields ? 'asset_type'
    );

-- name: merge_repeated_rows
-- Lines of the same id have the effect of being stored one after the other: of each key the last counts.
with repeated as (
    select id, max(line) as line from pg_temp.import_row where reason is null group by id having count(*) > 1
),
merged as (
    select f.id, jsonb_object_agg(f.key, f.value) as fields
    from (
        select distinct on (s.id, e.key) s.id, e.key, e.value
        from repeated d
        join pg_temp.import_row s on s.id = d.id and s.reason is null
        cross join lateral jsonb_each(s.fields) e
        order by s.id, e.key, s.line desc
    ) f
    group by f.id
)
update pg_temp.import_row s
set
    superseded = s.line < d.line,
    fields = case when s.line = d.line then m.fields end
from repeated d
join merged m on m.id = d.id
where s.id = d.id and s.reason is null;

-- name: count_checked_rows
select count(*) filter (where reason is null) as taken, count(*) filter (where reason is not null) as rejected
from pg_temp.import_row;

-- name: list_rejected_rows
select line, id, reason from pg_temp.import_row where reason is not null order by line limit %(limit)s;

-- name: store_rows
-- Ordered by id, so that two imports lock the rows they share in the same order. An existing row's asset type stands in
-- where the line has none: the row proposed for insertion must be whole before the conflict is even looked for.
with stored as (
    insert into pgsim.data_row as r
        (workspace_id, id, asset_type, uri, content, dataset, metadata, media, created_at)
    select
        %(workspace_id)s, s.id, coalesce(s.fields ->> 'asset_type', e.asset_type), s.fields ->> 'uri',
        s.fields ->> 'content', s.fields ->> 'dataset',
        coalesce(nullif(s.fields -> 'metadata', 'null'), jsonb_build_object()),
        coalesce(nullif(s.fields -> 'media', 'null'), jsonb_build_object()),
        coalesce((s.fields ->> 'created_at')::timestamptz, now())
    from pg_temp.import_row s
    left join pgsim.data_row e on e.workspace_id = %(workspace_id)s and e.id = s.id
    where s.reason is null and not s.superseded
    order by s.id
    on conflict (workspace_id, id) do update
    set (asset_type, uri, content, dataset, metadata, media, created_at) = (
        select
            case when f.fields ? 'asset_type' then excluded.asset_type else r.asset_type end,
            case when f.fields ? 'uri' then excluded.uri else r.uri end,
            case when f.fields ? 'content' then excluded.content else r.content end,
            case when f.fields ? 'dataset' then excluded.dataset else r.dataset end,
            case when f.fields ? 'metadata' then excluded.metadata else r.metadata end,
            case when f.fields ? 'media' then excluded.media else r.media end,
            case when f.fields ->> 'created_at' is not null then excluded.created_at else r.created_at end
        from pg_temp.import_row f
        where f.id = excluded.id and f.reason is null and not f.superseded
    )
    returning xmax = 0 as inserted
)
select count(*) filter (where inserted) as inserted, count(*) as stored from stored;

-- name: list_rows
select r.id, r.asset_type, r.uri, r.content, r.dataset, r.metadata, r.media, r.created_at, r.updated_at
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s
    and (%(after)s::text is null or r.id > %(after)s::text collate "C")
    and ({where})
order by r.id
limit %(limit)s;

-- name: count_rows
select count(*) from pgsim.data_row r where r.workspace_id = %(workspace_id)s and ({where});

-- name: get_row
select r.id, r.asset_type, r.uri, r.content, r.dataset, r.metadata, r.media, r.created_at, r.updated_at
from pgsim.data_row r
where r.workspace_id = %(workspace_id)s and r.id = %(id)s;

-- name: embedding_type_ids_of_workspace
select array_agg(id) from pgsim.embedding_type where workspace_id = %(workspace_id)s;

-- name: list_row_embeddings
-- The types are bound, so that no other workspace's partitions are looked into.
select t.name as embedding, t.id as embedding_type_id, t.dimensions, e.vector
from pgsim.embedding e
join pgsim.embedding_type t on t.id = e.embedding_type_id
where e.data_row_id = %(id)s and e.embedding_type_id = any(%(types)s)
order by t.name;

-- name: hold_embedding_types
-- Held, so that no type is deleted under a statement that names its partition.
select id from pgsim.embedding_type where workspace_id = %(workspace_id)s order by id for key share;

-- name: lock_rows
select id from pgsim.data_row where workspace_id = %(workspace_id)s and id = any(%(ids)s) order by id for update;

-- name: slices_anchored_on_rows
select distinct s.name
from pgsim.slice_anchor a
join pgsim.slice s on s.id = a.slice_id
where a.workspace_id = %(workspace_id)s and a.data_row_id = any(%(ids)s)
order by s.name;

-- name: delete_row_embeddings
delete from {partition} where data_row_id = any(%(ids)s);

-- name: delete_rows
delete from pgsim.data_row where workspace_id = %(workspace_id)s and id = any(%(ids)s);

-- name: export_rows
select row_to_json(e)::text
from (
    select r.id, r.asset_type, r.uri, r.content, r.dataset, r.metadata, r.media, r.created_at, r.updated_at
    from pgsim.data_row r
    where r.workspace_id = %(workspace_id)s and ({where})
    order by r.id
) e;

-- name: settle_rows
select pgsim.settle_rows();

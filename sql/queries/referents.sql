-- name: find_referent
select id, name from {table}
where workspace_id = %(workspace_id)s and (name = %(name)s or id::text = %(name)s)
order by name = %(name)s desc
limit 1;

-- name: insert_reference
insert into {references} (slice_id, {key}) values (%(slice_id)s, %(id)s) on conflict do nothing;

-- name: slices_of_referent
-- With the slices that refer to them.
with recursive dependant (id) as (
    select r.slice_id from {references} r where r.{key} = %(id)s
    union
    select u.slice_id from pgsim.slice_use u join dependant d on u.used_slice_id = d.id
)
select s.name, s.id from pgsim.slice s join dependant d on d.id = s.id order by s.name;

-- name: lock_referent
select id from {table} where id = %(id)s for update;

-- name: delete_slices
select pgsim.delete_slices(%(slice_ids)s);

-- name: delete_referent
delete from {table} where id = %(id)s;

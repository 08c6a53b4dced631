-- name: create_workspace
insert into pgsim.workspace (name) values (%(name)s);

-- name: list_workspaces
select {columns} from pgsim.workspace order by name;

-- name: find_workspace
select {columns}
from pgsim.workspace
where name = %(name)s or id::text = %(name)s
order by name = %(name)s desc
limit 1;

-- name: delete_workspace
select pgsim.delete_workspace(%(name)s);

-- name: lock_slices
-- Edits of a workspace's slices come one after the other: their views share a schema, and they may refer to each other.
select id from pgsim.workspace where id = %(workspace_id)s for no key update;

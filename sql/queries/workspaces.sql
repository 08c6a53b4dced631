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

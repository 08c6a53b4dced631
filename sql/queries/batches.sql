-- name: list_batches
select {columns}
from pgsim.batch
where workspace_id = %(workspace_id)s and (%(batch_id)s::bigint is null or id = %(batch_id)s)
    and (%(project)s::text is null or project = %(project)s)
order by name;

-- name: insert_batch
insert into pgsim.batch (workspace_id, name, project) values (%(workspace_id)s, %(name)s, %(project)s) returning id;

-- name: count_sent_rows
-- Rows that are in the project already, but for those of one batch.
select count(*)
from pg_temp.chosen_row c
join pgsim.batch_row b
    on b.workspace_id = %(workspace_id)s and b.project = %(project)s and b.data_row_id = c.data_row_id
where b.batch_id is distinct from %(batch_id)s::bigint;

-- name: lock_project
-- Of two sessions that send to one project, the second sees what the first sent: a part of the rows is as many as asked
-- for, without gaps in their positions.
select pg_advisory_xact_lock(hashtextextended('pgsim.batch:' || %(workspace_id)s || ':' || %(project)s, 0));

-- name: send_rows
-- One row above the limit is as many as the database needs to refuse them all. Rows that plain SQL sends at the same time
-- are waited for and left out; by id, so that two such sessions do not wait for each other.
insert into pgsim.batch_row (batch_id, workspace_id, project, data_row_id, position, score)
select %(batch_id)s, %(workspace_id)s, %(project)s, n.data_row_id, n.position, n.score
from (
    select c.data_row_id, c.score, row_number() over (order by c.position, c.data_row_id) as position
    from pg_temp.chosen_row c
    where not exists (
        select from pgsim.batch_row b
        where b.workspace_id = %(workspace_id)s and b.project = %(project)s and b.data_row_id = c.data_row_id
    )
    order by c.position, c.data_row_id
    limit (
        select least(%(limit)s::bigint, w.max_batch_rows + 1::bigint) from pgsim.workspace w
        where w.id = %(workspace_id)s
    )
) n
order by n.data_row_id
on conflict (workspace_id, project, data_row_id) do nothing;

-- name: check_batch_size
select pgsim.check_batch_size(%(workspace_id)s, %(name)s, %(rows)s);

-- name: list_batch_rows
select position, data_row_id, score from pgsim.batch_row where batch_id = %(batch_id)s order by position, data_row_id;

-- name: choose_batch
insert into pg_temp.chosen_row (position, data_row_id, score)
select position, data_row_id, score from pgsim.batch_row where batch_id = %(batch_id)s;

-- name: count_gone_rows
select count(*)
from pgsim.batch_row b
where b.batch_id = %(batch_id)s
    and not exists (select from pgsim.data_row r where r.workspace_id = b.workspace_id and r.id = b.data_row_id);

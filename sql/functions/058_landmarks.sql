-- Whether a walk through the index ended in the wrong place, as far as landmarks tell: one of them is nearer to the anchor
-- than all that the walk met. What it met is certain, so a landmark that is still there proves it. Each operator has a
-- statement of its own, which is planned once; a statement that is put together is planned at each call.
create or replace function pgsim.astray(kind bigint, anchor @vector@.vector, met float8) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    metric text := (select t.metric from pgsim.embedding_type t where t.id = kind);
    nearer text[];
    proven boolean;
begin
    -- Not everyone who was granted the right to read some type's vectors has it.
    if not has_table_privilege('pgsim.landmark', 'select') then
        return false;
    end if;
    case metric
        when 'l1' then
            nearer := array(
                select l.data_row_id from pgsim.landmark l
                where l.embedding_type_id = kind and l.vector operator(@vector@.<+>) anchor < met
            );
        when 'l2' then
            nearer := array(
                select l.data_row_id from pgsim.landmark l
                where l.embedding_type_id = kind and l.vector operator(@vector@.<->) anchor < met
            );
        else
            nearer := array(
                select l.data_row_id from pgsim.landmark l
                where l.embedding_type_id = kind and l.vector operator(@vector@.<=>) anchor < met
            );
    end case;
    if nearer = '{}' then
        return false;
    end if;
    -- Vectors may have been replaced, and rows be gone or not be this user's to see.
    execute format(
        'select exists (select from pgsim.%I e where e.data_row_id = any($1) and e.vector operator(@vector@.%s) $2 < $3)',
        'embedding_' || kind, case metric when 'l1' then '<+>' when 'l2' then '<->' else '<=>' end
    ) into proven using nearer, anchor, met;
    return proven;
end
$$;

comment on function pgsim.astray(bigint, @vector@.vector, float8) is
    'Whether a landmark of an embedding type is nearer to an anchor than the distance that a walk from it met.';

-- Who imports need not have the right to more than vectors.
create or replace function pgsim.may_place_landmarks() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return not exists (
    select from unnest(array['select', 'insert', 'update', 'delete']) r where not has_table_privilege('pgsim.landmark', r)
);

comment on function pgsim.may_place_landmarks() is
    'Whether the user may choose the landmarks of embedding types.';

-- Landmarks are copies of vectors. What another session holds is left to it, so that nobody who writes vectors and rolls on
-- to others can wait for this while this waits for him; the type's row comes first, as it does in its deletion.
create or replace function pgsim.place_landmarks(kind bigint, ids text[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    there text[];
begin
    if not pgsim.may_place_landmarks() then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('pgsim.landmarks', kind));
    perform from pgsim.embedding_type t where t.id = kind for key share;
    if not found then
        return;
    end if;
    execute format(
        'select array_agg(x.data_row_id) from (select e.data_row_id from pgsim.%I e where e.data_row_id = any($1)'
        ' for key share skip locked) x', 'embedding_' || kind
    ) into there using ids;
    delete from pgsim.landmark d
    using (select l.data_row_id from pgsim.landmark l where l.embedding_type_id = kind for update skip locked) f
    where d.embedding_type_id = kind and d.data_row_id = f.data_row_id;
    execute format(
        'insert into pgsim.landmark (embedding_type_id, data_row_id, vector)'
        ' select e.embedding_type_id, e.data_row_id, e.vector from pgsim.%I e where e.data_row_id = any($1)'
        ' order by e.data_row_id on conflict do nothing', 'embedding_' || kind
    ) using there;
end
$$;

comment on function pgsim.place_landmarks(bigint, text[]) is
    'Makes rows the landmarks of an embedding type, in the place of those that there were.';

-- Who may search by vectors may see where the index leads elsewhere.
do $$
declare
    grantee text;
begin
    for grantee in
        select case a.grantee when 0 then 'public' else quote_ident(r.rolname) end
        from pg_catalog.pg_class c
        cross join lateral pg_catalog.aclexplode(c.relacl) a
        left join pg_catalog.pg_roles r on r.oid = a.grantee
        where c.oid = 'pgsim.embedding'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
            and (a.grantee = 0 or r.oid is not null)
    loop
        execute 'grant select on pgsim.landmark to ' || grantee;
    end loop;
end
$$;

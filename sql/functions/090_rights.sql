-- A trigger function that runs with its owner's rights must not be attached by others to tables of their own, whose
-- columns they choose. Triggers that are there already need no right to it.
do $$
declare
    trigger_function regprocedure;
begin
    for trigger_function in
        select p.oid::regprocedure
        from pg_catalog.pg_proc p
        where p.pronamespace = 'pgsim'::regnamespace and p.prosecdef and p.prorettype = 'trigger'::regtype
    loop
        execute 'revoke execute on function ' || trigger_function || ' from public';
    end loop;
end
$$;

-- What Alembic keeps here for itself gets its comments from pgsim.
comment on table pgsim.alembic_version is 'The migration this database is at; kept by pgsim db upgrade.';
comment on column pgsim.alembic_version.version_num is 'Identifier of the migration.';

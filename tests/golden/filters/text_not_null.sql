-- uri is not null
pgsim.data_row.uri IS NOT NULL

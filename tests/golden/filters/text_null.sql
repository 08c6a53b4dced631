-- uri is null
pgsim.data_row.uri IS NULL

-- text not matches 'two words'
NOT CASE WHEN (octet_length(pgsim.data_row.content) <= 262144) THEN to_tsvector('simple'::regconfig, pgsim.data_row.content) @@ websearch_to_tsquery('simple'::regconfig, %(param_1)s::VARCHAR) ELSE (SELECT to_tsvector('simple'::regconfig, CASE WHEN ((SELECT coalesce(sum(anon_1.size), 0) AS coalesce_1 
FROM (SELECT octet_length(lower(anon_2.token)) + 5 + 2 * least(count(*), 256) AS size 
FROM ts_parse('default', anon_3.text) AS anon_2(tokid, token) 
WHERE anon_2.tokid != 12 GROUP BY lower(anon_2.token)) AS anon_1) <= 1048575) THEN anon_3.text ELSE left(anon_3.text, 65536) END) AS to_tsvector_1 
FROM (SELECT convert_from(SUBSTRING(anon_4.bytes FROM 1 FOR CASE WHEN (octet_length(anon_4.bytes) <= 1048576) THEN octet_length(anon_4.bytes) WHEN (get_byte(anon_4.bytes, 1048576) & 192 != 128) THEN 1048576 WHEN (get_byte(anon_4.bytes, 1048575) & 192 != 128) THEN 1048575 WHEN (get_byte(anon_4.bytes, 1048574) & 192 != 128) THEN 1048574 ELSE 1048573 END), 'UTF8') AS text 
FROM (SELECT convert_to((pgsim.data_row.content), 'UTF8') AS bytes) AS anon_4) AS anon_3) @@ websearch_to_tsquery('simple'::regconfig, %(param_1)s::VARCHAR) END
-- param_1: two words

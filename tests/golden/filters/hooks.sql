-- has_embedding('a') and (in_slice('b') or in_batch('c')) and not similar(embedding => 'e', anchors =>
%(param_1)s::VARCHAR = %(param_2)s::VARCHAR AND (%(param_3)s::VARCHAR = %(param_4)s::VARCHAR OR %(param_5)s::VARCHAR = %(param_6)s::VARCHAR) AND %(param_7)s::VARCHAR != %(param_8)s::VARCHAR
-- param_1: a
-- param_2: has_embedding
-- param_3: b
-- param_4: in_slice
-- param_5: c
-- param_6: in_batch
-- param_7: e
-- param_8: similar

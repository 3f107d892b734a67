-- check_pages: no table
SELECT (pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint)::bigint AS pages

-- pressure_rights: the catalogue's own indexes
-- Locking a row takes the right to update one of its columns, whichever.
SELECT n.name, to_regclass(n.name) IS NOT NULL AS present,
       COALESCE(has_table_privilege(to_regclass(n.name)::oid, 'SELECT'), false) AS can_select,
       COALESCE(has_table_privilege(to_regclass(n.name)::oid, 'INSERT'), false) AS can_insert,
       COALESCE(has_table_privilege(to_regclass(n.name)::oid, 'DELETE'), false) AS can_delete,
       COALESCE(has_any_column_privilege(to_regclass(n.name)::oid, 'UPDATE'), false) AS can_lock
FROM unnest($1::text[]) AS n(name)
ORDER BY 1

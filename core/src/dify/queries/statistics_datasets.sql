-- statistics_datasets: the whole table, which people fill by hand
SELECT id, tenant_id, name::text AS name FROM datasets ORDER BY id LIMIT 20000

"""Archives node executions as a script of one's own would: rows by a server-side cursor, Parquet with zstd by pyarrow."""

import json
import sys
import time

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

url, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
columns = """id::text, tenant_id::text, app_id::text, workflow_id::text, triggered_from, workflow_run_id::text, index, predecessor_node_id,
  node_execution_id, node_id, node_type, title, inputs, process_data, outputs, status, error, elapsed_time, execution_metadata, created_at,
  created_by_role, created_by::text, finished_at"""
names = [part.strip().split("::")[0] for part in columns.split(",")]
began, rows, writer = time.monotonic(), 0, None
with psycopg.connect(url) as connection, connection.cursor(name="archive", row_factory=psycopg.rows.dict_row) as cursor:
    cursor.itersize = 5000
    cursor.execute(f"SELECT {columns} FROM workflow_node_executions WHERE workflow_run_id IS NOT NULL ORDER BY ctid LIMIT {limit}")
    while batch := cursor.fetchmany(20000):
        table = pa.Table.from_pylist(batch, schema=writer.schema if writer else None)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=3)
        writer.write_table(table)
        rows += len(batch)
if writer:
    writer.close()
print(json.dumps({"rows": rows, "seconds": time.monotonic() - began, "pyarrow": pa.__version__}))

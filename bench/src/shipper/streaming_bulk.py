"""Ships node executions as a script of one's own would: rows by a server-side cursor, documents by streaming_bulk."""

import json
import resource
import sys
import time

import elasticsearch
import psycopg
from elasticsearch import Elasticsearch
from elasticsearch.helpers import streaming_bulk

database, engine = sys.argv[1], sys.argv[2]
columns = """id::text, tenant_id::text, app_id::text, workflow_id::text, workflow_run_id::text, index, node_id, node_type, title, inputs,
  process_data, outputs, status, error, elapsed_time, execution_metadata, created_at, finished_at"""


def actions(cursor):
    for row in cursor:
        yield {"_op_type": "index", "_index": "bench-script", "_id": row["id"], "_source": row}


began, documents = time.monotonic(), 0
client = Elasticsearch(engine, request_timeout=600)
with psycopg.connect(database) as connection, connection.cursor(name="ship", row_factory=psycopg.rows.dict_row) as cursor:
    cursor.itersize = 1000
    cursor.execute(f"SELECT {columns} FROM workflow_node_executions WHERE workflow_run_id IS NOT NULL")
    for ok, _ in streaming_bulk(client, actions(cursor), chunk_size=1000, max_chunk_bytes=5 * 1024 * 1024):
        documents += ok
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "documents": documents,
    "seconds": time.monotonic() - began,
    "cpu": used.ru_utime + used.ru_stime,
    "memory": used.ru_maxrss * 1024,
    "elasticsearch": ".".join(map(str, elasticsearch.__version__)),
}))

-- The role that dify-exporter reads Dify's database with: SELECT on the columns that it measures, and nothing else.
--
--   psql -d dify -v ON_ERROR_STOP=1 -f exporter-role.sql [-v role=dify_exporter] [-v content=1]
--   psql -d dify -c '\password dify_exporter'
--
-- Run it as the owner of Dify's tables (or a superuser), again after each upgrade of Dify: it grants what is there,
-- skips what this version of Dify does not have, and takes nothing away.
-- \password asks for the password and sends only its hash. -v password=… sets one too, but whoever may list the machine's
-- processes can read it there meanwhile: for scripts on machines of their own.
-- content=1 adds the few columns with people's words that label rules may need; see the end.

\set ON_ERROR_STOP 1
\if :{?role}
\else
  \set role dify_exporter
\endif
\if :{?content}
\else
  \set content 0
\endif

SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
ALTER ROLE :"role" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10;
\if :{?password}
  ALTER ROLE :"role" PASSWORD :'password';
\endif
-- Nothing that this role begins can write or run for ever, whatever a client asks for by mistake.
ALTER ROLE :"role" SET default_transaction_read_only = on;
ALTER ROLE :"role" SET statement_timeout = '60s';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '60s';

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')
\gexec
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), :'role')
\gexec

SELECT set_config('dify_observe.role', :'role', false) AS role \gset dify_observe_

-- Table by table. A list of columns is granted as far as the columns are there; '*' is the whole table.
CREATE TEMPORARY TABLE dify_observe_grants (table_name text, column_names text);
INSERT INTO dify_observe_grants VALUES
  ('alembic_version', 'version_num'),
  -- Names and configuration.
  ('apps', 'id tenant_id name mode status'),
  ('pipelines', 'id tenant_id name'),
  ('customized_snippets', 'id tenant_id name'),
  ('tags', 'id type name'),
  ('tag_bindings', 'tag_id target_id'),
  ('datasets', 'id tenant_id name'),
  -- A failed model call stores no model: it is looked up in the workflow's graph.
  ('workflows', 'id version graph'),
  ('end_users', 'id created_at'),
  -- Runs. Not inputs, outputs and graph. ctid: block ranges, where no index serves the time (before Dify 1.11.3).
  ('workflow_runs', 'ctid id tenant_id app_id workflow_id type triggered_from version status error elapsed_time total_tokens'
                    ' total_steps exceptions_count created_by_role created_by created_at finished_at'),
  -- Nodes: usage, prices, error classes and retries stand inside the JSON columns, so these are needed whole.
  ('workflow_node_executions', '*'),
  ('workflow_trigger_logs', 'ctid id tenant_id app_id workflow_run_id trigger_type status created_at triggered_at finished_at'),
  ('workflow_schedule_plans', 'app_id next_run_at'),
  -- Messages. Not query, answer, message and inputs.
  ('messages', 'ctid id app_id conversation_id workflow_run_id model_provider model_id app_mode status error invoke_from from_source'
               ' from_end_user_id from_account_id message_tokens answer_tokens total_price currency provider_response_latency'
               ' agent_based message_metadata created_at updated_at'),
  ('message_agent_thoughts', 'id message_id position created_at tool tool_meta_str message_token answer_token total_price currency'),
  ('message_feedbacks', 'id app_id message_id rating from_source created_at updated_at'),
  ('conversations', 'id app_id created_at'),
  -- Knowledge and files.
  ('documents', 'id dataset_id indexing_status processing_started_at completed_at indexing_latency created_at'),
  ('upload_files', 'size created_by_role created_at'),
  -- The age of the oldest row, where an index finds it.
  ('workflow_node_execution_offload', 'created_at'),
  ('workflow_app_logs', 'created_at'),
  ('workflow_archive_logs', 'created_at'),
  ('workflow_pauses', 'created_at'),
  ('workflow_pause_reasons', 'created_at'),
  ('workflow_conversation_variables', 'created_at'),
  ('workflow_draft_variables', 'created_at'),
  ('workflow_draft_variable_files', 'created_at'),
  ('message_annotations', 'created_at'),
  ('message_chains', 'created_at'),
  ('message_files', 'created_at'),
  ('app_annotation_hit_histories', 'created_at'),
  ('dataset_queries', 'created_at'),
  ('dataset_retriever_resources', 'created_at'),
  ('document_segments', 'created_at'),
  ('embeddings', 'created_at'),
  ('execution_extra_contents', 'created_at'),
  ('human_input_forms', 'created_at'),
  ('tool_files', 'created_at'),
  ('tool_model_invokes', 'created_at');

-- People's words, only with -v content=1: label rules with source = "input" read the inputs, source = "end_user" the session.
\if :content
  INSERT INTO dify_observe_grants VALUES
    ('workflow_runs', 'inputs'),
    ('messages', 'inputs'),
    ('end_users', 'session_id');
\endif

DO $$
DECLARE
  wanted record;
  present text;
  missing text;
  grantee text := current_setting('dify_observe.role');
BEGIN
  FOR wanted IN SELECT * FROM dify_observe_grants LOOP
    IF to_regclass(quote_ident(wanted.table_name)) IS NULL THEN
      RAISE NOTICE 'skipped %: this Dify has no such table', wanted.table_name;
      CONTINUE;
    END IF;
    IF wanted.column_names = '*' THEN
      EXECUTE format('GRANT SELECT ON %I TO %I', wanted.table_name, grantee);
      CONTINUE;
    END IF;
    SELECT string_agg(quote_ident(a.attname), ', ') FILTER (WHERE a.attname IS NOT NULL),
           string_agg(w.name, ', ') FILTER (WHERE a.attname IS NULL)
      INTO present, missing
      FROM regexp_split_to_table(wanted.column_names, ' +') AS w(name)
      LEFT JOIN pg_attribute a
        ON a.attrelid = to_regclass(quote_ident(wanted.table_name)) AND a.attname = w.name AND NOT a.attisdropped;
    IF present IS NOT NULL THEN
      EXECUTE format('GRANT SELECT (%s) ON %I TO %I', present, wanted.table_name, grantee);
    END IF;
    IF missing IS NOT NULL THEN
      RAISE NOTICE 'skipped % of %: this Dify has no such column', missing, wanted.table_name;
    END IF;
  END LOOP;
END $$;
DROP TABLE dify_observe_grants;

-- Connections and transactions of others show their state only to members of pg_read_all_stats, which an owner of tables
-- who is not a superuser may not be able to give. Without it those two families are off; all else works.
DO $$
BEGIN
  EXECUTE format('GRANT pg_read_all_stats TO %I', current_setting('dify_observe.role'));
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'pg_read_all_stats was not granted: only a superuser can; transaction ages will be missing';
END $$;

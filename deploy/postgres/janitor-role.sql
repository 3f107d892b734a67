-- The role that dify-janitor works with: reading what hangs on runs and conversations, and only with -v execute=1 deleting it.
--
--   psql -d dify -v ON_ERROR_STOP=1 -f janitor-role.sql [-v role=dify_janitor] [-v execute=1]
--
-- Then set a password with \password dify_janitor. Run it as the owner of Dify's tables (or a superuser), again after each upgrade of
-- Dify. It makes the rights exactly what is written here, in one transaction: run without execute=1, it takes the right to delete away.

\set ON_ERROR_STOP 1
\if :{?role}
\else
  \set role dify_janitor
\endif
\if :{?execute}
\else
  \set execute 0
\endif

SELECT set_config('dify_observe.role', :'role', false) AS role, set_config('dify_observe.execute', :'execute', false) AS execute
\gset dify_observe_

BEGIN;

-- Rights are taken away below, so this must not be anybody else's role, and least of all Dify's own.
DO $$
DECLARE
  grantee text := current_setting('dify_observe.role');
BEGIN
  IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = grantee
             AND (r.rolsuper OR has_table_privilege(r.oid, to_regclass('accounts')::oid, 'SELECT')
                  OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p')))) THEN
    RAISE EXCEPTION 'role % is a superuser, owns tables or may read accounts: name a role that is for dify-janitor alone', grantee;
  END IF;
END $$;

SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
ALTER ROLE :"role" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10;
-- Safety nets below the limits that dify-janitor sets itself in each of its transactions.
ALTER ROLE :"role" SET statement_timeout = '5min';
ALTER ROLE :"role" SET lock_timeout = '5s';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '10min';
\if :execute
  ALTER ROLE :"role" RESET default_transaction_read_only;
\else
  ALTER ROLE :"role" SET default_transaction_read_only = on;
\endif

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')
\gexec
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), :'role')
\gexec
SELECT format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), :'role')
\gexec

CREATE TEMPORARY TABLE dify_observe_grants (table_name text, column_names text, goes boolean) ON COMMIT DROP;

-- What goes with a run or a conversation: read as a whole, because it is archived as a whole. With execute=1 it may be deleted, and put
-- back (restore, and what came back to life).
INSERT INTO dify_observe_grants SELECT name, '*', true FROM unnest(ARRAY[
  'workflow_runs',
  'workflow_node_executions',
  'workflow_node_execution_offload',
  'workflow_app_logs',
  'workflow_trigger_logs',
  'workflow_pauses',
  'workflow_pause_reasons',
  'human_input_forms',
  'human_input_form_deliveries',
  'human_input_form_recipients',
  'human_input_form_upload_tokens',
  'human_input_form_upload_files',
  'execution_extra_contents',
  'conversations',
  'messages',
  'message_agent_thoughts',
  'message_chains',
  'message_feedbacks',
  'message_files',
  'dataset_retriever_resources',
  'app_annotation_hit_histories',
  'workflow_conversation_variables',
  'tool_conversation_variables',
  'pinned_conversations',
  'agent_debug_conversations'
]) AS name;

-- What is only read: names for policies and reports, and what keeps a run or a conversation from going.
INSERT INTO dify_observe_grants VALUES
  ('alembic_version', 'version_num', false),
  ('apps', 'id tenant_id name mode status', false),
  ('pipelines', 'id tenant_id name', false),
  ('customized_snippets', 'id tenant_id name', false),
  ('tags', 'id type name', false),
  ('tag_bindings', 'tag_id target_id', false),
  ('workflows', 'id tenant_id app_id version', false),
  ('message_annotations', 'ctid id app_id conversation_id message_id', false),
  ('saved_messages', 'ctid id app_id message_id', false),
  ('workflow_draft_variables', 'ctid id app_id node_execution_id', false),
  ('workflow_archive_logs', 'id workflow_run_id created_at', false);

DO $$
DECLARE
  wanted record;
  present text;
  grantee text := current_setting('dify_observe.role');
  deletes boolean := current_setting('dify_observe.execute')::boolean;
BEGIN
  FOR wanted IN SELECT * FROM dify_observe_grants LOOP
    IF to_regclass(quote_ident(wanted.table_name)) IS NULL THEN
      RAISE NOTICE 'skipped %: this Dify has no such table', wanted.table_name;
      CONTINUE;
    END IF;
    IF wanted.column_names = '*' THEN
      EXECUTE format('GRANT SELECT ON %I TO %I', wanted.table_name, grantee);
      IF deletes AND wanted.goes THEN
        EXECUTE format('GRANT DELETE, INSERT ON %I TO %I', wanted.table_name, grantee);
      END IF;
      CONTINUE;
    END IF;
    SELECT string_agg(quote_ident(a.attname), ', ')
      INTO present
      FROM regexp_split_to_table(wanted.column_names, ' +') AS w(name)
      JOIN pg_attribute a
        ON a.attrelid = to_regclass(quote_ident(wanted.table_name)) AND a.attname = w.name AND NOT a.attisdropped;
    IF present IS NOT NULL THEN
      EXECUTE format('GRANT SELECT (%s) ON %I TO %I', present, wanted.table_name, grantee);
    END IF;
  END LOOP;
  IF deletes THEN
    -- PostgreSQL lets a role lock a row (SELECT … FOR UPDATE) only if it may update some column of it. These two are of no consequence:
    -- a figure for people, and when somebody looked at a conversation. dify-janitor updates neither them nor anything else.
    EXECUTE format('GRANT UPDATE (total_steps) ON workflow_runs TO %I', grantee);
    EXECUTE format('GRANT UPDATE (read_at) ON conversations TO %I', grantee);
  END IF;
END $$;

\if :execute
  -- Values of many megabytes are put together in a temporary table when they are put back.
  SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), :'role')
  \gexec
\endif

COMMIT;

-- What other sessions do (load, long transactions, lag of replicas) shows only to members of pg_read_all_stats, which an owner of tables
-- who is not a superuser may not be able to give. Without it dify-janitor cannot give way to them; all else works.
DO $$
BEGIN
  EXECUTE format('GRANT pg_read_all_stats TO %I', current_setting('dify_observe.role'));
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'pg_read_all_stats was not granted: only a superuser can; dify-janitor will not see the load that others make';
END $$;

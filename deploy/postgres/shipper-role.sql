-- The role that dify-shipper reads Dify's database with: SELECT on what documents are made of, and nothing else.
--
--   psql -d dify -v ON_ERROR_STOP=1 -f shipper-role.sql [-v role=dify_shipper]
--   psql -d dify -c '\password dify_shipper'
--
-- Run it as the owner of Dify's tables (or a superuser), again after each upgrade of Dify: it grants what is there,
-- skips what this version of Dify does not have, and takes nothing away.
-- \password asks for the password and sends only its hash. -v password=… sets one too, but whoever may list the machine's
-- processes can read it there meanwhile: for scripts on machines of their own.
-- Documents carry questions and answers: shipper.content says how much, and redaction what of it. This role may read all of it.

\set ON_ERROR_STOP 1
\if :{?role}
\else
  \set role dify_shipper
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
  ('end_users', 'id session_id created_at'),
  -- What documents are made of. Whole tables: a row's version (xmin) tells which state of it a document shows, and no list of columns
  -- gives a right to that.
  ('workflow_runs', '*'),
  ('workflow_node_executions', '*'),
  ('workflow_trigger_logs', '*'),
  ('messages', '*'),
  ('message_agent_thoughts', '*'),
  ('message_feedbacks', '*'),
  ('conversations', 'id app_id created_at');

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

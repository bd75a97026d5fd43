-- The tables of the ledger, their partitions, and what keeps everyone from changing them.
-- Whatever schema the migration runs in is the one that every function is pinned to.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE ledger_ledgerwriterrecord (
  writer_id uuid PRIMARY KEY,
  secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
  role text NOT NULL DEFAULT '',
  hostname text NOT NULL DEFAULT '',
  pid integer NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seq bigint NOT NULL DEFAULT 0,
  -- the times of the made-up events that are being appended, which only the owner can write; see ledger_append_at
  given_ats timestamptz[]
) WITH (fillfactor = 50);

CREATE TABLE ledger_ledgerevent (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL,
  kind text NOT NULL CHECK (kind IN (
    'intent', 'outcome', 'void', 'heartbeat', 'read', 'search', 'export', 'review', 'redaction', 'hold', 'erasure',
    'retention', 'config', 'key', 'restore'
  )),
  chat_id uuid CHECK (chat_id IS NOT NULL OR kind NOT IN ('intent', 'outcome', 'void')),
  writer_id uuid NOT NULL,
  writer_seq bigint NOT NULL CHECK (writer_seq > 0),
  header bytea NOT NULL,
  leaf_hash bytea NOT NULL CHECK (leaf_hash = sha256('\x00'::bytea || header)),
  xid xid8 NOT NULL
) PARTITION BY RANGE (id);

-- the events of one chat
CREATE INDEX ledgerevent_by_chat ON ledger_ledgerevent (chat_id) WHERE chat_id IS NOT NULL;

-- the ledger's list by a rare kind, newest first; the intents and outcomes of chats fill every page anyway
CREATE INDEX ledgerevent_by_kind ON ledger_ledgerevent (kind, id) WHERE kind <> 'intent' AND kind <> 'outcome';

CREATE TABLE ledger_chatcontent (
  id uuid PRIMARY KEY,
  chat_id uuid NOT NULL,
  part text NOT NULL CHECK (part IN ('request', 'response')),
  salt bytea NOT NULL CHECK (length(salt) = 32),
  body bytea NOT NULL,
  files text NOT NULL,
  size_bytes bigint NOT NULL CHECK (size_bytes >= 0)
) PARTITION BY RANGE (id);

-- PostgreSQL's own compression costs more than all else of a large body; partitions take over what is set here.
DO $$
BEGIN
  IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
    ALTER TABLE ledger_chatcontent ALTER COLUMN body SET COMPRESSION lz4;
  END IF;
END $$;

-- the contents of one chat
CREATE INDEX chatcontent_by_chat ON ledger_chatcontent (chat_id);

CREATE FUNCTION llmhub_uuidv7(p_at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN (
  lpad(to_hex((extract(epoch FROM p_at) * 1000000)::bigint / 1000), 12, '0')
  || '7'
  -- the microseconds, so that ids of one millisecond stay in order
  || lpad(to_hex((extract(epoch FROM p_at) * 1000000)::bigint % 1000 * 4096 / 1000), 3, '0')
  || right(replace(gen_random_uuid()::text, '-', ''), 16)
)::uuid;

CREATE FUNCTION llmhub_uuidv7_floor(p_at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN rpad(lpad(to_hex(floor(extract(epoch FROM p_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;

CREATE FUNCTION ledger_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The ledger is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION ledger_guard_table(p_table regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, llmhub_app', p_table);
  EXECUTE format(
    'CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()',
    p_table
  );
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER ledger_no_truncate', p_table);
END $$;

CREATE FUNCTION ledger_make_partition(p_parent regclass, p_month timestamp) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_name text := format('%s_%s', (SELECT relname FROM pg_class WHERE oid = p_parent), to_char(p_month, 'YYYY_MM'));
BEGIN
  -- Attached once it is complete: attaching leaves readers and writers of the parent alone, CREATE ... PARTITION OF does not.
  EXECUTE format('CREATE TABLE %I (LIKE %s INCLUDING ALL)', v_name, p_parent);
  IF p_parent = 'ledger_ledgerevent'::regclass THEN
    -- the numbers of a writer: none twice
    EXECUTE format('CREATE UNIQUE INDEX %I ON %I (writer_id, writer_seq)', v_name || '_writer', v_name);
  END IF;
  PERFORM ledger_guard_table(v_name::regclass);
  EXECUTE format(
    'CREATE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()',
    v_name
  );
  EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER ledger_no_change', v_name);
  EXECUTE format(
    'ALTER TABLE %s ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
    p_parent, v_name,
    llmhub_uuidv7_floor(p_month AT TIME ZONE 'UTC'),
    llmhub_uuidv7_floor((p_month + interval '1 month') AT TIME ZONE 'UTC')
  );
  RETURN v_name;
END $$;

CREATE FUNCTION ledger_missing_partitions(p_months_ahead integer) RETURNS TABLE (parent regclass, month timestamp)
LANGUAGE sql STABLE AS $$
  -- from yesterday's month on: a clock may step back over midnight
  SELECT parent, month
  FROM unnest(ARRAY['ledger_ledgerevent', 'ledger_chatcontent']::regclass[]) AS parent
  JOIN pg_class ON pg_class.oid = parent
  CROSS JOIN generate_series(
    date_trunc('month', (now() - interval '1 day') AT TIME ZONE 'UTC'),
    date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => p_months_ahead),
    interval '1 month'
  ) AS month
  WHERE to_regclass(format('%I', relname || to_char(month, '_YYYY_MM'))) IS NULL
$$;

CREATE FUNCTION ledger_ensure_partitions(p_months_ahead integer) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF p_months_ahead IS NULL OR p_months_ahead NOT BETWEEN 0 AND 24 THEN
    RAISE EXCEPTION 'Between 0 and 24 months ahead, not %.', p_months_ahead USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF NOT EXISTS (SELECT FROM ledger_missing_partitions(p_months_ahead)) THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('llmhub.ledger_ensure_partitions', 0));
  RETURN QUERY SELECT ledger_make_partition(parent, month) FROM ledger_missing_partitions(p_months_ahead);
END $$;

SELECT ledger_guard_table(name) FROM unnest(ARRAY['ledger_ledgerevent', 'ledger_chatcontent']::regclass[]) AS name;
REVOKE ALL ON ledger_ledgerwriterrecord FROM PUBLIC, llmhub_app;
GRANT SELECT ON ledger_ledgerevent, ledger_chatcontent TO llmhub_app;
GRANT SELECT (writer_id, role, hostname, pid, started_at, last_seen_at, last_seq) ON ledger_ledgerwriterrecord TO llmhub_app;

REVOKE ALL ON FUNCTION
  llmhub_uuidv7(timestamptz), llmhub_uuidv7_floor(timestamptz), ledger_refuse_change(), ledger_guard_table(regclass),
  ledger_make_partition(regclass, timestamp), ledger_missing_partitions(integer), ledger_ensure_partitions(integer)
  FROM PUBLIC, llmhub_app;
GRANT EXECUTE ON FUNCTION ledger_ensure_partitions(integer) TO llmhub_app;

SELECT ledger_ensure_partitions(3);

-- The one way into the ledger, and the derivation of chats from it.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A seat is theirs who show the secret of which it keeps the hash. What it says of its process is told once.
CREATE FUNCTION ledger_writer_seen(
  p_writer uuid, p_secret bytea, p_role text, p_hostname text, p_pid integer
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF p_role = 'seed' THEN
    RAISE EXCEPTION 'Only the owner of the ledger makes chats up.' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO ledger_ledgerwriterrecord AS seat (writer_id, secret_hash, role, hostname, pid)
  VALUES (p_writer, sha256(p_secret), p_role, p_hostname, p_pid)
  ON CONFLICT (writer_id) DO UPDATE SET
    last_seen_at = clock_timestamp(),
    role = CASE seat.role WHEN '' THEN excluded.role ELSE seat.role END,
    hostname = CASE seat.role WHEN '' THEN excluded.hostname ELSE seat.hostname END,
    pid = CASE seat.role WHEN '' THEN excluded.pid ELSE seat.pid END
  WHERE seat.secret_hash = excluded.secret_hash;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'The seat is taken by another.' USING ERRCODE = 'insufficient_privilege';
  END IF;
END $$;

-- Whether nobody will end a chat any more: its writer has been silent for a minute, or it has been open for two hours.
CREATE FUNCTION ledger_is_abandoned(p_writer uuid, p_started_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN p_started_at < now() - interval '2 hours' OR NOT EXISTS (
  SELECT FROM ledger_ledgerwriterrecord WHERE writer_id = p_writer AND last_seen_at >= now() - interval '1 minute'
);

-- Open chats that nobody will end, locked until the end of the transaction so that no two close the same.
CREATE FUNCTION ledger_abandoned_chats(p_limit integer) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT id FROM chat_chat
  WHERE status = 'started' AND ledger_is_abandoned(writer_id, started_at)
  ORDER BY id LIMIT p_limit FOR UPDATE SKIP LOCKED
$$;

-- Derives chats from events given as arrays, whatever order they come in. A chat moves on from `started` only, and from
-- `lost` when its true outcome comes late; anything told twice changes nothing. Returns how many chats were opened.
CREATE FUNCTION ledger_project_chats(
  p_ids uuid[], p_ats timestamptz[], p_kinds text[], p_chat_ids uuid[], p_writers uuid[], p_events jsonb[]
) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_opened integer := 0;
BEGIN
  IF p_kinds && ARRAY['intent', 'void'] THEN
    INSERT INTO chat_chat (
      id, status, application, api_key, actor, end_user, conversation, address, dialect, is_stream, asked_provider,
      asked_model, provider, model_name, attempts, usage_source, finish_reason, native_finish_reason, error_type,
      error_code, http_status, started_at, finished_at, writer_id, intent_id, outcome_id
    )
    SELECT DISTINCT ON (chat_id)
      chat_id,
      coalesce(ev ->> 'status', 'started'),
      coalesce(ev ->> 'app', ''),
      coalesce(ev ->> 'key', ''),
      coalesce(ev ->> 'actor', ''),
      coalesce(ev ->> 'user', ''),
      coalesce(ev ->> 'conversation', ''),
      coalesce(ev ->> 'address', ''),
      coalesce(ev ->> 'dialect', ''),
      coalesce((ev #>> '{asked,stream}')::boolean, false),
      coalesce(ev #>> '{asked,provider}', ''),
      coalesce(ev #>> '{asked,model}', ''),
      '', '', '[]', '', '', '',
      coalesce(ev #>> '{error,type}', ''),
      coalesce(ev #>> '{error,code}', ''),
      (ev ->> 'http_status')::integer,
      at,
      CASE kind WHEN 'void' THEN at END,
      writer_id,
      id,
      CASE kind WHEN 'void' THEN id END
    FROM unnest(p_ids, p_ats, p_kinds, p_chat_ids, p_writers, p_events) AS e (id, at, kind, chat_id, writer_id, ev)
    WHERE kind IN ('intent', 'void')
    ORDER BY chat_id, id
    ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS v_opened = ROW_COUNT;
  END IF;

  IF 'outcome' = ANY (p_kinds) THEN
    UPDATE chat_chat SET
      status = ev ->> 'status',
      provider = coalesce(ev #>> '{served,provider}', ''),
      model_name = coalesce(ev #>> '{served,model}', ''),
      attempts = coalesce(ev -> 'attempts', '[]'),
      prompt_tokens = (ev #>> '{tokens,prompt}')::bigint,
      completion_tokens = (ev #>> '{tokens,completion}')::bigint,
      cached_tokens = (ev #>> '{tokens,cached}')::bigint,
      reasoning_tokens = (ev #>> '{tokens,reasoning}')::bigint,
      usage_source = coalesce(ev #>> '{tokens,source}', ''),
      cost_nano_usd = (ev ->> 'cost_nano_usd')::bigint,
      finish_reason = coalesce(ev ->> 'finish_reason', ''),
      native_finish_reason = coalesce(ev ->> 'native_finish_reason', ''),
      error_type = coalesce(ev #>> '{error,type}', ''),
      error_code = coalesce(ev #>> '{error,code}', ''),
      http_status = (ev ->> 'http_status')::integer,
      finished_at = outcome.at,
      latency_ms = (ev #>> '{times,latency_ms}')::bigint,
      first_token_ms = (ev #>> '{times,first_token_ms}')::bigint,
      overhead_us = (ev #>> '{times,overhead_us}')::bigint,
      outcome_id = outcome.id
    FROM (
      SELECT DISTINCT ON (chat_id) chat_id, id, at, ev
      FROM unnest(p_ids, p_ats, p_kinds, p_chat_ids, p_events) AS e (id, at, kind, chat_id, ev)
      WHERE kind = 'outcome'
      ORDER BY chat_id, ev ->> 'status' = 'lost', id
    ) AS outcome
    WHERE chat_chat.id = outcome.chat_id
      AND (chat_chat.status = 'started' OR (chat_chat.status = 'lost' AND ev ->> 'status' <> 'lost'));
  END IF;
  RETURN v_opened;
END $$;

-- Refuses an end that comes neither from a process that has the secret of the chat's writer, nor is `lost` for a chat that is.
CREATE FUNCTION ledger_refuse_foreign_ends(
  p_secret_hash bytea, p_kinds text[], p_chat_ids uuid[], p_events jsonb[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM unnest(p_kinds, p_chat_ids, p_events) AS e (kind, chat_id, ev)
    LEFT JOIN chat_chat AS chat ON chat.id = chat_id
    WHERE kind = 'outcome'
      AND NOT EXISTS (
        SELECT FROM ledger_ledgerwriterrecord AS seat WHERE seat.writer_id = chat.writer_id AND seat.secret_hash = p_secret_hash
      )
      AND NOT (chat.id IS NOT NULL AND ev ->> 'status' = 'lost' AND ledger_is_abandoned(chat.writer_id, chat.started_at))
  ) THEN
    RAISE EXCEPTION 'A chat is ended by who did not open it.' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
END $$;

-- Plans are kept for the life of a connection, and one made while the tables were empty must not scan them when they are full.
CREATE FUNCTION ledger_append(
  p_writer uuid, p_secret bytea, p_kinds text[], p_chat_ids uuid[], p_events text[], p_bodies bytea[], p_files text[],
  p_salts bytea[], p_sizes bigint[]
) RETURNS TABLE (id uuid, at timestamptz, writer_seq bigint, leaf_hash bytea)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
  v_secret_hash bytea := sha256(p_secret);
  v_count integer := cardinality(p_kinds);
  v_first_seq bigint;
  v_given_ats timestamptz[];
  v_ids uuid[];
  v_ats timestamptz[];
  v_events jsonb[];
  v_headers bytea[];
BEGIN
  IF v_count = 0 OR v_count IS NULL OR (v_count, v_count, v_count, v_count, v_count, v_count) IS DISTINCT FROM (
    cardinality(p_chat_ids), cardinality(p_events), cardinality(p_bodies), cardinality(p_files), cardinality(p_salts), cardinality(p_sizes)
  ) THEN
    RAISE EXCEPTION 'ledger_append takes arrays of one length, at least 1.' USING ERRCODE = 'invalid_parameter_value';
  END IF;

  -- The daily task makes partitions ahead of time; where it has not run for months, the record does not fail for it.
  IF to_regclass(to_char(clock_timestamp() AT TIME ZONE 'UTC', '"ledger_ledgerevent_"YYYY_MM')) IS NULL
    OR to_regclass(to_char(clock_timestamp() AT TIME ZONE 'UTC', '"ledger_chatcontent_"YYYY_MM')) IS NULL
  THEN
    PERFORM ledger_ensure_partitions(0);
  END IF;

  -- The seat is locked until the commit, so a writer's numbers are given out one transaction at a time, and taken back with it.
  INSERT INTO ledger_ledgerwriterrecord AS seat (writer_id, secret_hash, last_seq)
  VALUES (p_writer, v_secret_hash, v_count)
  ON CONFLICT (writer_id) DO UPDATE SET last_seq = seat.last_seq + v_count, last_seen_at = clock_timestamp()
  WHERE seat.secret_hash = v_secret_hash
  RETURNING seat.last_seq - v_count + 1, seat.given_ats INTO v_first_seq, v_given_ats;
  IF v_first_seq IS NULL THEN
    RAISE EXCEPTION 'The seat is taken by another.' USING ERRCODE = 'insufficient_privilege';
  END IF;

  WITH timed AS MATERIALIZED (
    SELECT n, ev, coalesce(v_given_ats[n], clock_timestamp()) AS at FROM unnest(p_events) WITH ORDINALITY AS e (ev, n)
  ), named AS MATERIALIZED (
    SELECT n, ev, at, llmhub_uuidv7(at) AS id FROM timed
  )
  SELECT
    array_agg(id ORDER BY n),
    array_agg(at ORDER BY n),
    array_agg(ev::jsonb ORDER BY n),
    array_agg(convert_to(
      '{"db":{"at":"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
      || '","id":"' || id::text
      || '","writer_id":"' || p_writer::text
      || '","writer_seq":' || v_first_seq + n - 1
      || '},"ev":' || ev || '}', 'UTF8'
    ) ORDER BY n)
  INTO v_ids, v_ats, v_events, v_headers
  FROM named;

  IF EXISTS (
    SELECT FROM unnest(p_kinds, p_chat_ids, v_events) AS e (kind, chat_id, ev)
    WHERE ev ->> 'kind' IS DISTINCT FROM kind OR ev ->> 'chat' IS DISTINCT FROM chat_id::text
  ) THEN
    RAISE EXCEPTION 'An event does not say the kind and chat it is given for.' USING ERRCODE = 'invalid_parameter_value';
  END IF;

  INSERT INTO ledger_ledgerevent (id, at, kind, chat_id, writer_id, writer_seq, header, leaf_hash, xid)
  SELECT id, at, kind, chat_id, p_writer, v_first_seq + n - 1, header, sha256('\x00'::bytea || header), pg_current_xact_id()
  FROM unnest(v_ids, v_ats, p_kinds, p_chat_ids, v_headers) WITH ORDINALITY AS e (id, at, kind, chat_id, header, n);

  INSERT INTO ledger_chatcontent (id, chat_id, part, salt, body, files, size_bytes)
  SELECT
    id, chat_id, CASE WHEN kind = 'outcome' THEN 'response' WHEN kind IN ('intent', 'void') THEN 'request' END,
    salt, body, files, size
  FROM unnest(v_ids, p_kinds, p_chat_ids, p_salts, p_bodies, p_files, p_sizes) AS e (id, kind, chat_id, salt, body, files, size)
  WHERE body IS NOT NULL;

  IF ledger_project_chats(v_ids, v_ats, p_kinds, p_chat_ids, array_fill(p_writer, ARRAY[v_count]), v_events)
    <> (SELECT count(*) FROM unnest(p_kinds) AS kind WHERE kind IN ('intent', 'void'))
  THEN
    RAISE EXCEPTION 'A chat is opened twice.' USING ERRCODE = 'unique_violation';
  END IF;

  -- Nearly always the writer that opened a chat ends it, which costs little to see; else another seat of its process,
  -- which has its secret, or the reaper.
  IF 'outcome' = ANY (p_kinds) THEN
    PERFORM FROM unnest(p_kinds, p_chat_ids) AS e (kind, chat_id)
    LEFT JOIN chat_chat AS chat ON chat.id = chat_id
    WHERE kind = 'outcome' AND chat.writer_id IS DISTINCT FROM p_writer
    LIMIT 1;
    IF FOUND THEN
      PERFORM ledger_refuse_foreign_ends(v_secret_hash, p_kinds, p_chat_ids, v_events);
    END IF;
  END IF;

  RETURN QUERY
  SELECT id, at, v_first_seq + n - 1, sha256('\x00'::bytea || header)
  FROM unnest(v_ids, v_ats, v_headers) WITH ORDINALITY AS e (id, at, header, n)
  ORDER BY n;
END $$;

-- The owner's way in for made-up chats, whose times are given. The seat holds them while ledger_append runs, which costs the
-- application nothing: it cannot write there. What has a time of its own shows as made up, by the role of its seat.
CREATE FUNCTION ledger_append_at(
  p_ats timestamptz[], p_writer uuid, p_secret bytea, p_kinds text[], p_chat_ids uuid[], p_events text[],
  p_bodies bytea[], p_files text[], p_salts bytea[], p_sizes bigint[]
) RETURNS TABLE (id uuid, at timestamptz, writer_seq bigint, leaf_hash bytea)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF cardinality(p_ats) IS DISTINCT FROM cardinality(p_kinds) OR array_position(p_ats, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'Each event has a time.' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE ledger_ledgerwriterrecord SET given_ats = p_ats WHERE writer_id = p_writer AND role = 'seed';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'Only made-up chats have times of their own.' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN QUERY SELECT * FROM ledger_append(
    p_writer, p_secret, p_kinds, p_chat_ids, p_events, p_bodies, p_files, p_salts, p_sizes
  );
  UPDATE ledger_ledgerwriterrecord SET given_ats = NULL WHERE writer_id = p_writer;
END $$;

-- Derives again the chats that the next events after p_after opened; returns the last of these events, null at the end.
-- What is appended meanwhile waits for the lock, and is derived after it.
CREATE FUNCTION ledger_rebuild_chats(p_after uuid, p_limit integer, OUT last_id uuid, OUT chats integer)
LANGUAGE plpgsql
SET search_path FROM CURRENT SET lock_timeout = '1s' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  v_chat_ids uuid[];
BEGIN
  SELECT (array_agg(id ORDER BY id DESC))[1], array_agg(DISTINCT chat_id), count(DISTINCT chat_id)
  INTO last_id, v_chat_ids, chats
  FROM (
    SELECT id, chat_id FROM ledger_ledgerevent
    WHERE id > p_after AND kind IN ('intent', 'void')
    ORDER BY id LIMIT p_limit
  ) AS opening;
  IF last_id IS NULL THEN
    RETURN;
  END IF;

  LOCK TABLE chat_chat IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM chat_chat WHERE id = ANY (v_chat_ids);
  PERFORM ledger_project_chats(
    array_agg(id), array_agg(at), array_agg(kind), array_agg(chat_id), array_agg(writer_id),
    array_agg(convert_from(header, 'UTF8')::jsonb -> 'ev')
  )
  FROM ledger_ledgerevent
  WHERE chat_id = ANY (v_chat_ids) AND kind IN ('intent', 'outcome', 'void');
END $$;

REVOKE ALL ON chat_chat FROM PUBLIC, llmhub_app;
GRANT SELECT ON chat_chat TO llmhub_app;

REVOKE ALL ON FUNCTION
  ledger_writer_seen(uuid, bytea, text, text, integer),
  ledger_refuse_foreign_ends(bytea, text[], uuid[], jsonb[]),
  ledger_is_abandoned(uuid, timestamptz),
  ledger_abandoned_chats(integer),
  ledger_project_chats(uuid[], timestamptz[], text[], uuid[], uuid[], jsonb[]),
  ledger_append(uuid, bytea, text[], uuid[], text[], bytea[], text[], bytea[], bigint[]),
  ledger_append_at(timestamptz[], uuid, bytea, text[], uuid[], text[], bytea[], text[], bytea[], bigint[]),
  ledger_rebuild_chats(uuid, integer)
  FROM PUBLIC, llmhub_app;
GRANT EXECUTE ON FUNCTION
  ledger_writer_seen(uuid, bytea, text, text, integer),
  ledger_append(uuid, bytea, text[], uuid[], text[], bytea[], text[], bytea[], bigint[]),
  ledger_abandoned_chats(integer)
  TO llmhub_app;

-- The history of the configuration: triggers keep what becomes of each row, whoever changes it and however.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Keeps the row in the table of events that the trigger names first; of the secrets that it names then, that they changed.
-- Who did it is what the session claims (pgh_context), and beside it what the database knows of that session (pgh_session).
CREATE FUNCTION history_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  v_events regclass := TG_ARGV[0];
  v_secrets text[] := TG_ARGV[1];
  v_columns text[];
  v_has_object boolean;
  v_note text;
  v_changed text[];
  v_secret text;
BEGIN
  SELECT array_agg(attname ORDER BY attnum) FILTER (WHERE NOT starts_with(attname, 'pgh_')), bool_or(attname = 'pgh_obj_id')
  INTO v_columns, v_has_object
  FROM pg_attribute WHERE attrelid = v_events AND attnum > 0 AND NOT attisdropped;

  v_note := format(
    $note$
      INSERT INTO %s (pgh_created_at, pgh_label, pgh_context, pgh_context_id, pgh_session, %s)
      SELECT
        now(),
        $2,
        nullif(current_setting('pghistory.context_metadata', true), '')::jsonb,
        nullif(current_setting('pghistory.context_id', true), '')::uuid,
        jsonb_build_object(
          'login', session_user,
          'address', host(inet_client_addr()),
          'pid', pg_backend_pid(),
          'application', current_setting('application_name')
        ),
        %s
    $note$,
    v_events,
    (SELECT string_agg(quote_ident(name), ', ') FROM unnest(v_columns) AS name)
      || CASE WHEN v_has_object THEN ', pgh_obj_id' ELSE '' END,
    (SELECT string_agg(format('($1).%I', name), ', ') FROM unnest(v_columns) AS name)
      || CASE WHEN v_has_object THEN ', ($1).id' ELSE '' END
  );

  IF NOT v_has_object THEN
    IF TG_OP <> 'INSERT' THEN
      EXECUTE v_note USING OLD, 'removed';
    END IF;
    IF TG_OP <> 'DELETE' THEN
      EXECUTE v_note USING NEW, 'added';
    END IF;
  ELSIF TG_OP = 'INSERT' THEN
    EXECUTE v_note USING NEW, 'insert';
  ELSIF TG_OP = 'DELETE' THEN
    EXECUTE v_note USING OLD, 'delete';
  ELSE
    EXECUTE format(
      'SELECT array_remove(ARRAY[%s]::text[], NULL)',
      (SELECT string_agg(format('CASE WHEN ($1).%1$I IS DISTINCT FROM ($2).%1$I THEN %1$L END', name), ', ')
       FROM unnest(v_columns || v_secrets) AS name)
    ) INTO v_changed USING OLD, NEW;
    IF v_changed && v_columns THEN
      EXECUTE v_note USING NEW, 'update';
    END IF;
    FOREACH v_secret IN ARRAY v_secrets LOOP
      IF v_secret = ANY (v_changed) THEN
        EXECUTE v_note USING NEW, v_secret || '_changed';
      END IF;
    END LOOP;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION history_refuse() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The history only grows: % on % is refused.', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

-- Has the history of one table kept in another, from now on; what is in it already is its beginning.
CREATE FUNCTION history_keep(p_rows regclass, p_events regclass, p_secrets text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_guarded regclass;
BEGIN
  EXECUTE format(
    'CREATE OR REPLACE TRIGGER history_note AFTER INSERT OR UPDATE OR DELETE ON %s '
    'FOR EACH ROW EXECUTE FUNCTION history_note(%L, %L)',
    p_rows, p_events, p_secrets
  );
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER history_note', p_rows);
  EXECUTE format(
    'CREATE OR REPLACE TRIGGER history_no_change BEFORE UPDATE OR DELETE ON %s '
    'FOR EACH STATEMENT EXECUTE FUNCTION history_refuse()',
    p_events
  );
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER history_no_change', p_events);
  FOREACH v_guarded IN ARRAY ARRAY[p_rows, p_events] LOOP
    EXECUTE format(
      'CREATE OR REPLACE TRIGGER history_no_truncate BEFORE TRUNCATE ON %s '
      'FOR EACH STATEMENT EXECUTE FUNCTION history_refuse()',
      v_guarded
    );
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER history_no_truncate', v_guarded);
  END LOOP;
  PERFORM history_begin(p_rows, p_events);
END $$;

-- Notes each row that has no history yet, so that its first change has something to differ from.
CREATE FUNCTION history_begin(p_rows regclass, p_events regclass) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_columns text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = p_events AND attname = 'pgh_obj_id' AND NOT attisdropped) THEN
    RETURN;
  END IF;
  SELECT string_agg(quote_ident(attname), ', ') INTO v_columns
  FROM pg_attribute WHERE attrelid = p_events AND attnum > 0 AND NOT attisdropped AND NOT starts_with(attname, 'pgh_');
  EXECUTE format(
    'INSERT INTO %1$s (pgh_created_at, pgh_label, pgh_obj_id, %2$s) SELECT now(), %3$L, id, %2$s FROM %4$s AS kept '
    'WHERE NOT EXISTS (SELECT FROM %1$s WHERE pgh_obj_id = kept.id)',
    p_events, v_columns, 'found', p_rows
  );
END $$;

CREATE FUNCTION history_let_go(p_rows regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('DROP TRIGGER history_note ON %s', p_rows);
  EXECUTE format('DROP TRIGGER history_no_truncate ON %s', p_rows);
END $$;

REVOKE ALL ON FUNCTION
  history_note(), history_refuse(), history_keep(regclass, regclass, text[]), history_begin(regclass, regclass),
  history_let_go(regclass)
  FROM PUBLIC;

-- A way to write to tables of pghistory's own, which stay empty.
DROP FUNCTION IF EXISTS _pgh_attach_context();

-- Whoever may write a row may neither date it, change it nor take it back.
CREATE TABLE providers_connectiontest (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  actor varchar(200) NOT NULL,
  address varchar(100) NOT NULL,
  through varchar(10) NOT NULL CHECK (through IN ('form', 'check', 'api')),
  provider varchar(100) NOT NULL,
  provider_type varchar(20) NOT NULL,
  base_url varchar(500) NOT NULL,
  key varchar(10) NOT NULL CHECK (key IN ('stored', 'entered', 'none'))
);
-- the tests of one provider, the newest first
CREATE INDEX connectiontest_by_provider ON providers_connectiontest (provider, id DESC);
CREATE TABLE providers_connectiontestoutcome (
  test_id bigint PRIMARY KEY REFERENCES providers_connectiontest,
  at timestamptz NOT NULL,
  ok boolean NOT NULL,
  words text NOT NULL
);

CREATE FUNCTION connection_test_date() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.at = clock_timestamp();
  RETURN NEW;
END $$;
CREATE FUNCTION connection_test_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The record of connection tests is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

DO $$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['providers_connectiontest', 'providers_connectiontestoutcome'] LOOP
    EXECUTE format('CREATE TRIGGER at_now BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION connection_test_date()', v_table);
    EXECUTE format(
      'CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION connection_test_refuse_change()',
      v_table
    );
    EXECUTE format(
      'CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION connection_test_refuse_change()',
      v_table
    );
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER at_now', v_table);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER no_change', v_table);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER no_truncate', v_table);
    EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, llmhub_app', v_table);
    EXECUTE format('GRANT SELECT, INSERT ON %I TO llmhub_app', v_table);
  END LOOP;
END $$;

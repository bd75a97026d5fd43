DO $$
BEGIN
  IF EXISTS (SELECT FROM ledger_ledgerevent) THEN
    RAISE EXCEPTION 'The ledger holds events, so this migration is not reversed.';
  END IF;
END $$;

DROP TABLE ledger_chatcontent, ledger_ledgerevent, ledger_ledgerwriterrecord;
DROP FUNCTION ledger_ensure_partitions(integer), ledger_missing_partitions(integer), ledger_make_partition(regclass, timestamp),
  ledger_guard_table(regclass), ledger_refuse_change(), llmhub_uuidv7_floor(timestamptz), llmhub_uuidv7(timestamptz);

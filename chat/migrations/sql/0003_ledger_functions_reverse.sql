DROP FUNCTION ledger_rebuild_chats(uuid, integer),
  ledger_append(uuid, text[], uuid[], text[], bytea[], text[], bytea[], bigint[]),
  ledger_project_chats(uuid[], timestamptz[], text[], uuid[], uuid[], jsonb[]),
  ledger_writer_seen(uuid, text, text, integer);

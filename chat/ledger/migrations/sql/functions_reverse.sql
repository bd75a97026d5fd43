DROP FUNCTION ledger_rebuild_chats(uuid, integer),
  ledger_append_at(timestamptz[], uuid, bytea, text[], uuid[], text[], bytea[], text[], bytea[], bigint[]),
  ledger_append(uuid, bytea, text[], uuid[], text[], bytea[], text[], bytea[], bigint[]),
  ledger_project_chats(uuid[], timestamptz[], text[], uuid[], uuid[], jsonb[]),
  ledger_refuse_foreign_ends(bytea, text[], uuid[], jsonb[]),
  ledger_abandoned_chats(integer),
  ledger_is_abandoned(uuid, timestamptz),
  ledger_writer_seen(uuid, bytea, text, text, integer);

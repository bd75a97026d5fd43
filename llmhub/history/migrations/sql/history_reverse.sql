DROP VIEW IF EXISTS history_change;
DROP FUNCTION history_let_go(regclass), history_keep(regclass, regclass, text[]), history_begin(regclass, regclass);
DROP FUNCTION history_refuse(), history_note() CASCADE;

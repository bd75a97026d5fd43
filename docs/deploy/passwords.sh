#!/bin/sh
# Run by the postgres image after roles.sql, when the database is first made. The passwords reach psql through its
# environment alone.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv owner_password LLMHUB_OWNER_DB_PASSWORD
\getenv password LLMHUB_DB_PASSWORD
ALTER ROLE llmhub_owner PASSWORD :'owner_password';
ALTER ROLE llmhub PASSWORD :'password';
SQL

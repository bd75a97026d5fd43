-- The owner makes and changes tables; the application only reads and writes what the owner grants it.
CREATE ROLE llmhub_owner LOGIN CREATEROLE;
CREATE ROLE llmhub LOGIN;
ALTER DATABASE llmhub OWNER TO llmhub_owner;
REVOKE ALL ON DATABASE llmhub FROM PUBLIC;
GRANT CONNECT ON DATABASE llmhub TO llmhub;

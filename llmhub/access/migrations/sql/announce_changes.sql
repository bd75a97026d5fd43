-- Every change of what a process holds in memory is announced, whoever makes it: admin, API, `.update()` or raw SQL.
CREATE FUNCTION llmhub_announce_config() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY llmhub_config;
  RETURN NULL;
END $$;

CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF name, is_active ON access_application
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF application_id, digest, scopes, allowed_providers, allowed_models, expires_at, revoked_at
  ON access_apikey
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();

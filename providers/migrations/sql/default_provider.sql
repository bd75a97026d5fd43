-- However the default is deleted, the next by priority takes its place.
CREATE FUNCTION llmhub_promote_default_provider() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE providers_providerconfig SET is_default = true
  WHERE id = (SELECT id FROM providers_providerconfig ORDER BY enabled DESC, priority, name LIMIT 1)
    AND NOT EXISTS (SELECT FROM providers_providerconfig WHERE is_default);
  RETURN NULL;
END $$;
CREATE TRIGGER promote_default
  AFTER DELETE ON providers_providerconfig
  FOR EACH ROW WHEN (OLD.is_default) EXECUTE FUNCTION llmhub_promote_default_provider();

-- Columns that only tell when something was last looked at are left out: nobody's memory holds them.
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF name, provider_type, api_key, base_url, default_model, enabled, is_default, priority, rate_limit,
      timeout, settings, health
  ON providers_providerconfig
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF provider_id, name, listed, allowed, capabilities, input_usd_per_mtok, output_usd_per_mtok,
      cached_input_usd_per_mtok
  ON providers_providermodel
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();

from django.db import migrations

# Columns that only tell when something was last looked at are left out: nobody's memory holds them.
TRIGGERS = """
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF name, provider_type, api_key, base_url, default_model, enabled, is_default, priority, rate_limit,
      timeout, settings, health
  ON providers_providerconfig
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF provider_id, name, listed, allowed, input_usd_per_mtok, output_usd_per_mtok, cached_input_usd_per_mtok
  ON providers_providermodel
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();
"""
NO_TRIGGERS = """
DROP TRIGGER announce_config ON providers_providermodel;
DROP TRIGGER announce_config ON providers_providerconfig;
"""

# However the default is deleted, the next by priority takes its place.
PROMOTION = """
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
"""
NO_PROMOTION = """
DROP TRIGGER promote_default ON providers_providerconfig;
DROP FUNCTION llmhub_promote_default_provider();
"""


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_providers"), ("access", "0002_announce_changes")]

    operations = [
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
        migrations.RunSQL(PROMOTION, NO_PROMOTION),
    ]

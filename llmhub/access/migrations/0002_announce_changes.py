from django.db import migrations

# Every change of what a process holds in memory is announced, whoever makes it: admin, API, `.update()` or raw SQL.
FUNCTION = """
CREATE FUNCTION llmhub_announce_config() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY llmhub_config;
  RETURN NULL;
END $$;
"""
TRIGGERS = """
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF name, is_active ON access_application
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();
CREATE TRIGGER announce_config
  AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF application_id, digest, scopes, allowed_providers, allowed_models, expires_at, revoked_at
  ON access_apikey
  FOR EACH STATEMENT EXECUTE FUNCTION llmhub_announce_config();
"""
NO_TRIGGERS = """
DROP TRIGGER announce_config ON access_apikey;
DROP TRIGGER announce_config ON access_application;
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0001_applications")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION llmhub_announce_config()"),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
    ]

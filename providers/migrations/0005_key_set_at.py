from django.db import migrations

# The database's clock says when a key was set, whatever sets it; keys that are only encrypted anew stay as old as they are.
TRIGGER = """
CREATE FUNCTION llmhub_note_key_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.api_key = '' THEN
    NEW.api_key_set_at = NULL;
  ELSIF TG_OP = 'INSERT' THEN
    NEW.api_key_set_at = now();
  ELSIF NEW.api_key = OLD.api_key OR current_setting('llmhub.is_rotating', true) = 'yes' THEN
    NEW.api_key_set_at = OLD.api_key_set_at;
  ELSE
    NEW.api_key_set_at = now();
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER note_key_set
  BEFORE INSERT OR UPDATE ON providers_providerconfig
  FOR EACH ROW EXECUTE FUNCTION llmhub_note_key_set();
"""
NO_TRIGGER = """
DROP TRIGGER note_key_set ON providers_providerconfig;
DROP FUNCTION llmhub_note_key_set();
"""


class Migration(migrations.Migration):
    dependencies = [("providers", "0004_history")]

    operations = [migrations.RunSQL(TRIGGER, NO_TRIGGER)]

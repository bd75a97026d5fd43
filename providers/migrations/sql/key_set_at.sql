-- The database's clock says when a key was set, whatever sets it; of two in one transaction, when each was.
CREATE FUNCTION llmhub_note_key_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.api_key = '' THEN
    NEW.api_key_set_at = NULL;
  ELSIF TG_OP = 'INSERT' THEN
    NEW.api_key_set_at = clock_timestamp();
  ELSIF NEW.api_key = OLD.api_key THEN
    NEW.api_key_set_at = OLD.api_key_set_at;
  ELSE
    NEW.api_key_set_at = clock_timestamp();
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER note_key_set
  BEFORE INSERT OR UPDATE ON providers_providerconfig
  FOR EACH ROW EXECUTE FUNCTION llmhub_note_key_set();

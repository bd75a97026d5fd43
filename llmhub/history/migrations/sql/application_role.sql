-- The role that the application works in; `prepare` lets the login of DATABASE_URL have it.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'llmhub_app') THEN
    CREATE ROLE llmhub_app NOLOGIN;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL;  -- the migration of another database of this server was first
  WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'The role llmhub_app is missing and % may not create roles. As a superuser, run: CREATE ROLE llmhub_app NOLOGIN;', current_user;
END $$;

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

# Whoever may write a row may neither date it, change it nor take it back.
TABLES = """
CREATE TABLE providers_connectiontest (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  actor varchar(200) NOT NULL,
  address varchar(100) NOT NULL,
  through varchar(10) NOT NULL CHECK (through IN ('form', 'check', 'api')),
  provider varchar(100) NOT NULL,
  provider_type varchar(20) NOT NULL,
  base_url varchar(500) NOT NULL,
  key varchar(10) NOT NULL CHECK (key IN ('stored', 'entered', 'none'))
);
-- the tests of one provider, the newest first
CREATE INDEX connectiontest_by_provider ON providers_connectiontest (provider, id DESC);
CREATE TABLE providers_connectiontestoutcome (
  test_id bigint PRIMARY KEY REFERENCES providers_connectiontest,
  at timestamptz NOT NULL,
  ok boolean NOT NULL,
  words text NOT NULL
);

CREATE FUNCTION connection_test_date() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.at = clock_timestamp();
  RETURN NEW;
END $$;
CREATE FUNCTION connection_test_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The record of connection tests is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

DO $$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['providers_connectiontest', 'providers_connectiontestoutcome'] LOOP
    EXECUTE format('CREATE TRIGGER at_now BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION connection_test_date()', v_table);
    EXECUTE format(
      'CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION connection_test_refuse_change()',
      v_table
    );
    EXECUTE format(
      'CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION connection_test_refuse_change()',
      v_table
    );
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER at_now', v_table);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER no_change', v_table);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER no_truncate', v_table);
    EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, llmhub_app', v_table);
    EXECUTE format('GRANT SELECT, INSERT ON %I TO llmhub_app', v_table);
  END LOOP;
END $$;
"""
NO_TABLES = """
DROP TABLE providers_connectiontestoutcome, providers_connectiontest;
DROP FUNCTION connection_test_refuse_change();
DROP FUNCTION connection_test_date();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0005_key_set_at"),
        ("chat", "0002_ledger_tables"),  # makes the role llmhub_app
    ]

    operations = [
        migrations.RunSQL(TABLES, NO_TABLES),
        migrations.CreateModel(
            name="ConnectionTest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("actor", models.CharField(max_length=200, verbose_name="who")),
                ("address", models.CharField(blank=True, max_length=100, verbose_name="from")),
                (
                    "through",
                    models.CharField(
                        choices=[("form", "Test connection"), ("check", "Check now"), ("api", "API")], max_length=10
                    ),
                ),
                ("provider", models.CharField(blank=True, max_length=100)),
                ("provider_type", models.CharField(max_length=20, verbose_name="type")),
                ("base_url", models.CharField(max_length=500, verbose_name="base URL")),
                (
                    "key",
                    models.CharField(
                        choices=[
                            ("stored", "the stored one"),
                            ("entered", "one entered for the test"),
                            ("none", "none"),
                        ],
                        max_length=10,
                        verbose_name="API key",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConnectionTestOutcome",
            fields=[
                (
                    "test",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="outcome",
                        serialize=False,
                        to="providers.connectiontest",
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ok", models.BooleanField()),
                ("words", models.TextField(blank=True)),
            ],
            options={
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]

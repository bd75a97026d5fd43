from django.db import migrations

# The planner does not look at the statistics of a partial index for what it is an expression of.
STATISTICS = """
    CREATE STATISTICS chat_tokens ON (prompt_tokens + completion_tokens) FROM chat_chat;
    ANALYZE chat_chat;
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0005_usage_rollup")]

    operations = [migrations.RunSQL(STATISTICS, "DROP STATISTICS chat_tokens")]

from typing import Any

from django.db import migrations


def add_ollama(apps: Any, schema_editor: Any) -> None:
    """A hub without providers starts with the one that needs no key."""
    providers = apps.get_model("providers", "ProviderConfig").objects.using(schema_editor.connection.alias)
    if not providers.exists():
        providers.create(
            name="ollama",
            provider_type="ollama",
            base_url="http://localhost:11434",
            default_model="llama3.2",
            is_default=True,
        )


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_initial")]

    operations = [migrations.RunPython(add_ollama, migrations.RunPython.noop)]

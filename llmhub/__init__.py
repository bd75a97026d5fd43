"""The Django project: wiring, and what the apps stand on."""

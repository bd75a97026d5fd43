"""The Django project: wiring, and the foundations of the apps."""

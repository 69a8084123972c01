"""A Django project around one app, ``articles``."""

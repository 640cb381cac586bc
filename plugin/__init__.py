"""The QGIS side: plugin object, Processing provider, tasks, the runtime's installer and launcher."""

"""The bundled problems: data only, one YAML file a problem."""
